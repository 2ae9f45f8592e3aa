//! Devices, where tensors live: main memory, or the memory of a GPU.

use crate::cuda::{self, Gpu};
use crate::dispatch::on_device;
use crate::{Error, Result, memory};
use std::fmt;
use std::str::FromStr;

/// The memory that a tensor's elements live in, and with it the processor that computes on them.
///
/// ```
/// use engine::Device;
/// let device: Device = "cuda:1".parse()?;
/// assert_eq!((device, device.to_string()), (Device::Cuda(1), "cuda:1".into()));
/// assert_eq!(Device::default(), Device::Cpu);
/// Device::Cpu.check()?; // of a GPU: whether it can be used, and if not, the reason
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// Main memory.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `cuda` (the first GPU) or `cuda:1`.
    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(index))) => Ok(Self::Cuda(index)),
            _ => Err(Error::cuda(
                "device",
                format!("expected cpu, cuda or cuda:<number>, got {text:?}"),
            )),
        }
    }
}

/// A GPU, as the driver describes it. See [`gpus`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// Its number.
    pub device: Device,
    /// The product name.
    pub name: String,
    /// The compute capability, major and minor.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    /// Why it cannot be used, if it cannot.
    pub unusable: Option<String>,
}

/// The GPUs of this machine.
///
/// ```
/// match engine::gpus() {
///     Ok(gpus) => gpus.iter().for_each(|gpu| println!("{}: {}", gpu.device, gpu.name)),
///     Err(reason) => println!("{reason}"),
/// }
/// ```
///
/// # Errors
/// If there is no driver or one that is too old, with advice; if this program was built without the
/// feature `cuda`.
pub fn gpus() -> Result<Vec<GpuInfo>> {
    let info = |(index, probe)| {
        let device = Device::Cuda(index);
        match probe {
            Ok(probe) => GpuInfo {
                device,
                unusable: cuda::unusable(&probe),
                name: probe.name,
                capability: probe.capability,
                memory: probe.memory,
            },
            Err(error) => GpuInfo {
                device,
                name: "unknown".into(),
                capability: (0, 0),
                memory: 0,
                unusable: Some(error),
            },
        }
    };
    Ok(cuda::probe_all()?.into_iter().enumerate().map(info).collect())
}

/// ```
/// use engine::{DType, Device, Error, Tensor};
/// let device = Device::Cpu;
/// device.check()?;
/// device.reset_peak()?;
/// let work = || Ok::<_, Error>(Tensor::ones(&[256, 256], DType::F32)?.exp()?.sum_all()?);
/// let (sum, seconds) = device.timed(work)?;
/// device.synchronize()?;
/// assert!(sum.device() == device && seconds >= 0.0);
/// assert!(device.memory()?.peak >= 2 * 256 * 256 * 4); // two maps at once
/// device.trim()?;
/// # Ok::<_, engine::Error>(())
/// ```
impl Device {
    /// Checks that the device can be used; initializes a GPU.
    pub fn check(self) -> Result<()> {
        self.gpu()?;
        Ok(())
    }

    /// Waits until everything that was queued is done, and reports what failed meanwhile. The CPU
    /// is always done.
    pub fn synchronize(self) -> Result<()> {
        on_device(self.gpu()?, (), |()| Ok(()), |gpu, ()| gpu.synchronize())
    }

    /// `f`, and how many seconds its work took: on a GPU between two events in its stream, so that
    /// the way there and back is left out.
    pub fn timed<R, E: From<Error>>(self, f: impl FnOnce() -> Result<R, E>) -> Result<(R, f64), E> {
        on_device(
            self.gpu()?,
            f,
            |f| {
                let start = std::time::Instant::now();
                let result = f()?;
                Ok((result, start.elapsed().as_secs_f64()))
            },
            |gpu, f| gpu.timed(f),
        )
    }

    /// Statistics of the device's memory.
    pub fn memory(self) -> Result<memory::Stats> {
        Ok(on_device(self.gpu()?, (), |()| memory::stats(), |gpu, ()| gpu.stats()))
    }

    /// Resets the peak of [`Device::memory`] to the bytes that are in use now.
    pub fn reset_peak(self) -> Result<()> {
        on_device(self.gpu()?, (), |()| memory::reset_peak(), |gpu, ()| gpu.reset_peak());
        Ok(())
    }

    /// Returns memory that is kept for reuse to the system or the driver.
    pub fn trim(self) -> Result<()> {
        let on_cpu = |()| {
            memory::trim();
            Ok(())
        };
        on_device(self.gpu()?, (), on_cpu, |gpu, ()| gpu.trim())
    }

    /// The GPU that this is, started at the first call; `None` on the CPU.
    pub(crate) fn gpu(self) -> Result<Option<&'static Gpu>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Cuda(index) => Gpu::get(index).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            let message = wrong.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("expected cpu, cuda or cuda:<number>"), "{message}");
        }
    }
}
