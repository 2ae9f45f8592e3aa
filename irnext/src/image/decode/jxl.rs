//! JPEG XL files, by `jxl-oxide`.

use std::io::Read;

use ::image::DynamicImage;
use jxl_oxide::color::{ColourEncoding, ColourSpace, TransferFunction};
use jxl_oxide::frame::Encoding;
use jxl_oxide::image::BitDepth;
use jxl_oxide::{
    AllocTracker, AuxBoxData, EnumColourEncoding, ExtraChannelType, InitializeResult, JxlImage,
    Render, RenderingIntent,
};

use super::decoded::{Decoded, Result, check_size, damaged, truncated};
use super::samples::{eight_bits, sixteen_bits};
use crate::image::metadata::Metadata;
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};

/// What a decoder may take for each pixel: a number in f32 for each channel of a frame, of the
/// frames that it is blended with, and of the buffers in between.
const BYTES_PER_PIXEL: u64 = 128;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let most = limits.max_pixels.saturating_mul(BYTES_PER_PIXEL).max(1 << 28);
    let memory = AllocTracker::with_limit(usize::try_from(most).unwrap_or(usize::MAX));
    let mut image = JxlImage::builder().alloc_tracker(memory).read(bytes).map_err(reason)?;
    check_size((image.width(), image.height()), limits)?;
    let mut notes = Vec::new();
    let icc = icc(&mut image, &mut notes);

    let render = match image.num_loaded_keyframes() {
        0 if limits.keep_going => {
            notes.push(Note::Coarse);
            image.render_loading_frame().map_err(reason)?
        }
        0 => return Err(truncated(FileKind::JpegXl)),
        _ => image.render_frame(0).map_err(reason)?,
    };
    match image.num_loaded_keyframes() {
        0 | 1 => {}
        count => notes.push(Note::FirstOf(count)),
    }
    let (pixels, bits) = pixels(&image, &render)?;
    if bits > 16 {
        notes.push(Note::FewerBits { from: 32, to: 16 });
    }
    let with_loss = image.image_header().metadata.xyb_encoded
        || image.frame_header(0).is_some_and(|frame| frame.encoding == Encoding::VarDct);

    let mut decoded = Decoded::new(pixels, SourceFile::new(FileKind::JpegXl));
    // A JPEG, which the result becomes after loss, has neither alpha nor more than 8 bits.
    decoded.source.lossy = with_loss && !image.pixel_format().has_alpha() && bits <= 8;
    decoded.icc = icc;
    decoded.metadata = metadata(&image);
    // The pixels are upright already, whatever EXIF says.
    decoded.orientation = Some(1);
    decoded.notes = notes;
    Ok(decoded)
}

/// The size of the upright image.
pub(super) fn size(mut file: impl Read) -> Result<((u32, u32), Option<u8>)> {
    let mut image = JxlImage::builder().build_uninit();
    // Bytes that the decoder takes only together with those after them stay at the front.
    let (mut buffer, mut held) = (vec![0; 1 << 14], 0);
    loop {
        let read = file.read(&mut buffer[held..]);
        match read.map_err(|error| format!("cannot be read: {error}"))? {
            0 => return Err(truncated(FileKind::JpegXl)),
            count => held += count,
        }
        let consumed = image.feed_bytes(&buffer[..held]).map_err(reason)?;
        buffer.copy_within(consumed..held, 0);
        held -= consumed;
        image = match image.try_init().map_err(reason)? {
            InitializeResult::NeedMoreData(image) => image,
            InitializeResult::Initialized(image) => {
                return Ok(((image.width(), image.height()), None));
            }
        };
    }
}

/// The profile of the pixels that the image will be rendered to; `None` for sRGB. Inks and colors
/// of high dynamic range become sRGB.
fn icc(image: &mut JxlImage, notes: &mut Vec<Note>) -> Option<Vec<u8>> {
    let format = image.pixel_format();
    if format.has_black() || image.hdr_type().is_some() {
        image.request_color_encoding(match format.is_grayscale() {
            true => EnumColourEncoding::gray_srgb(RenderingIntent::Relative),
            false => EnumColourEncoding::srgb(RenderingIntent::Relative),
        });
        notes.push(if format.has_black() { Note::FromCmyk } else { Note::ConvertedToSrgb });
        return None;
    }
    match &image.image_header().metadata.colour_encoding {
        encoding if encoding.is_srgb() => None,
        ColourEncoding::Enum(EnumColourEncoding {
            colour_space: ColourSpace::Grey,
            tf: TransferFunction::Srgb,
            ..
        }) => None,
        _ => Some(image.rendered_icc()),
    }
}

/// The pixels, and the bits of a sample: more than 16 for floating point.
fn pixels(image: &JxlImage, render: &Render) -> Result<(DynamicImage, u32)> {
    let header = &image.image_header().metadata;
    let bits = match header.bit_depth {
        BitDepth::IntegerSample { bits_per_sample } => bits_per_sample,
        BitDepth::FloatSample { .. } => 32,
    };
    let alpha = header.ec_info.iter().find_map(|channel| match channel.ty {
        ExtraChannelType::Alpha { alpha_associated } => Some(alpha_associated),
        _ => None,
    });
    let mut stream = render.stream();
    let (width, height) = (stream.width(), stream.height());
    let channels = stream.channels() as usize;
    let mut samples = vec![0.0f32; width as usize * height as usize * channels];
    stream.write_to_buffer(&mut samples);
    if alpha == Some(true) {
        for pixel in samples.chunks_exact_mut(channels) {
            if let Some((alpha, colors)) = pixel.split_last_mut()
                && *alpha > 0.0
            {
                colors.iter_mut().for_each(|color| *color /= *alpha);
            }
        }
    }
    let size = (width, height);
    let pixels = if bits <= 8 {
        let samples = samples.iter().map(|x| (x.clamp(0.0, 1.0) * 255.0).round() as u8);
        eight_bits(samples.collect(), channels, size)
    } else {
        let samples = samples.iter().map(|x| (x.clamp(0.0, 1.0) * 65535.0).round() as u16);
        sixteen_bits(samples.collect(), channels, size)
    };
    Ok((pixels.ok_or("its channels do not make a picture")?, bits))
}

fn metadata(image: &JxlImage) -> Metadata {
    let boxes = image.aux_boxes();
    let found = |data: AuxBoxData<&[u8]>| match data {
        AuxBoxData::Data(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    // Damaged metadata is no reason to refuse the pixels.
    let block = boxes.first_exif().ok().map(|exif| {
        exif.map(|exif| exif.payload().get(exif.tiff_header_offset() as usize..).unwrap_or(&[]))
    });
    Metadata { exif: block.and_then(found), xmp: found(boxes.first_xml()), ..Metadata::default() }
}

/// A decoder's error in words.
fn reason(error: Box<dyn std::error::Error + Send + Sync>) -> String {
    match error.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(FileKind::JpegXl)
        }
        _ => damaged(FileKind::JpegXl),
    }
}
