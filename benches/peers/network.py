"""IRNeXt in PyTorch, for the comparison: the variant `released` of `docs/src/variants.md`.

Parameters have the names of weight files. Where PyTorch leaves a choice, the faster one is taken:
LAM's filter is one depthwise convolution and copies no map nine times, and side heads, which only
the loss needs, are computed in training alone.
"""

import torch
import torch.nn.functional as F
from torch import nn


def conv(c_in, c_out, kernel, stride=1, gelu=True):
    """A convolution in its own sequence, for parameters under `main.0`, then GELU."""
    layers = [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)] + [nn.GELU()] * gelu
    return Main(*layers)


def up(c_in, c_out):
    return Main(nn.ConvTranspose2d(c_in, c_out, 4, 2, 1), nn.GELU())


class Main(nn.Module):
    """A sequence under the name `main`."""

    def __init__(self, *layers):
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x):
        return self.main(x)


def conv_s(c):
    """ConvS: shallow features of the shrunken input."""
    layers = [
        conv(3, c // 4, 3),
        conv(c // 4, c // 2, 1),
        conv(c // 2, c // 2, 3),
        conv(c // 2, c, 1, gelu=False),
    ]
    return Main(*layers, nn.InstanceNorm2d(c, affine=True))


class Merge(nn.Module):
    """Joins two maps of `c` channels to one."""

    def __init__(self, c):
        super().__init__()
        self.merge = conv(2 * c, c, 3, gelu=False)

    def forward(self, x, y):
        return self.merge(torch.cat([x, y], 1))


class Lam(nn.Module):
    """Local attention: G filters of K x K made from the map, applied to it, and modulated."""

    def __init__(self, c, groups=8, kernel=3):
        super().__init__()
        self.groups, self.kernel = groups, kernel
        self.lamb_l = nn.Parameter(torch.zeros(c))
        self.lamb_h = nn.Parameter(torch.zeros(c))
        self.inside_all = nn.Parameter(torch.zeros(c, 1, 1))
        self.conv = nn.Conv2d(c, groups * kernel**2, 1, bias=False)
        self.bn = nn.BatchNorm2d(groups * kernel**2)

    def forward(self, x):
        mean = F.adaptive_avg_pool2d(x, 1)
        low = self.filter(x, torch.tanh(self.bn(self.conv(mean))))
        modulated = low * (self.inside_all + 1) - mean * self.inside_all
        return modulated * self.lamb_l[:, None, None] + x * (self.lamb_h[:, None, None] + 1)

    def filter(self, x, taps):
        """Every image and channel is a channel of its own in one depthwise convolution."""
        (n, c, h, w), k, border = x.shape, self.kernel, self.kernel // 2
        taps = taps.reshape(n, self.groups, 1, k * k).expand(
            n, self.groups, c // self.groups, k * k
        )
        x = F.pad(x, [border] * 4, mode="reflect").reshape(1, n * c, h + 2 * border, w + 2 * border)
        return F.conv2d(x, taps.reshape(n * c, 1, k, k), groups=n * c).reshape(n, c, h, w)


class Msm(nn.Module):
    """Multi-scale module: LAM on the map pooled by 8, 4 and 2, plus the next coarser result."""

    def __init__(self, c, rates=(8, 4, 2)):
        super().__init__()
        self.rates = rates
        self.convs = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in rates)
        self.dynas = nn.ModuleList(Lam(c) for _ in rates)
        self.conv_sum = nn.Conv2d(c, c, 3, padding=1, bias=False)

    def forward(self, x):
        total, y = x, None
        for rate, conv, lam in zip(self.rates, self.convs, self.dynas):
            pooled = F.avg_pool2d(x, rate)
            y = pooled if y is None else pooled + enlarge(y, pooled)
            y = lam(conv(y))
            total = total + enlarge(y, x)
        return self.conv_sum(F.gelu(total))


def enlarge(x, to):
    return F.interpolate(x, size=to.shape[-2:], mode="bilinear", align_corners=True)


class ResBlock(nn.Module):
    def __init__(self, c, msm):
        super().__init__()
        self.main = nn.Sequential(
            conv(c, c, 3), Msm(c) if msm else nn.Identity(), conv(c, c, 3, gelu=False)
        )

    def forward(self, x):
        return self.main(x) + x


class CnnBlock(nn.Module):
    """n residual blocks, and one with MSM."""

    def __init__(self, c, n):
        super().__init__()
        self.layers = nn.Sequential(*(ResBlock(c, msm=i == n) for i in range(n + 1)))

    def forward(self, x):
        return self.layers(x)


class IrNext(nn.Module):
    def __init__(self, n, width):
        super().__init__()
        c = width
        self.Encoder = nn.ModuleList([CnnBlock(c, n), CnnBlock(2 * c, n), CnnBlock(4 * c, n)])
        self.feat_extract = nn.ModuleList(
            [
                conv(3, c, 3),
                conv(c, 2 * c, 3, stride=2),
                conv(2 * c, 4 * c, 3, stride=2),
                up(4 * c, 2 * c),
                up(2 * c, c),
                conv(c, 3, 3, gelu=False),
            ]
        )
        self.Decoder = nn.ModuleList([CnnBlock(4 * c, n), CnnBlock(2 * c, n), CnnBlock(c, n)])
        self.Convs = nn.ModuleList([conv(4 * c, 2 * c, 1), conv(2 * c, c, 1)])
        self.ConvsOut = nn.ModuleList(
            [conv(4 * c, 3, 3, gelu=False), conv(2 * c, 3, 3, gelu=False)]
        )
        self.FAM1, self.SCM1 = Merge(4 * c), conv_s(4 * c)
        self.FAM2, self.SCM2 = Merge(2 * c), conv_s(2 * c)

    def forward(self, x):
        """The full-size prediction; in training those at quarter, half and full size."""
        x_half = F.interpolate(x, scale_factor=0.5)
        x_quarter = F.interpolate(x_half, scale_factor=0.5)
        full = self.Encoder[0](self.feat_extract[0](x))
        half = self.FAM2(self.feat_extract[1](full), self.SCM2(x_half))
        half = self.Encoder[1](half)
        quarter = self.FAM1(self.feat_extract[2](half), self.SCM1(x_quarter))
        quarter = self.Decoder[0](self.Encoder[2](quarter))
        half = self.Convs[0](torch.cat([self.feat_extract[3](quarter), half], 1))
        half = self.Decoder[1](half)
        full = self.Convs[1](torch.cat([self.feat_extract[4](half), full], 1))
        full = self.Decoder[2](full)
        out = self.feat_extract[5](full) + x
        if not self.training:
            return out
        return self.ConvsOut[0](quarter) + x_quarter, self.ConvsOut[1](half) + x_half, out


def dual_domain(predictions, target, weight=0.1):
    """Equations 8 to 10, with real and imaginary parts stacked; transforms the difference once."""
    loss = 0.0
    for prediction in predictions:
        difference = prediction - F.interpolate(
            target, prediction.shape[-2:], mode="bilinear", align_corners=False
        )
        spectrum = torch.view_as_real(torch.fft.fft2(difference))
        loss = loss + difference.abs().mean() + weight * spectrum.abs().mean()
    return loss


def load(weights):
    """The network of a weight file, in eval mode. Every name and shape must agree."""
    from safetensors.torch import load_file

    tensors = load_file(weights)
    n = max(int(name.split(".")[3]) for name in tensors if name.startswith("Encoder.0.layers."))
    network = IrNext(n, width=tensors["feat_extract.0.main.0.weight"].shape[0])
    network.load_state_dict(tensors, strict=True)
    return network.eval()
