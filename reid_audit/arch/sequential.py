"""Networks whose children are numbered, because they were rewrapped: ``nn.Sequential(*list(net.children())[:-1])``."""

from __future__ import annotations

from collections.abc import Collection

RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
INCEPTION = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c", "avgpool", "dropout", "fc",
)  # fmt: skip
GOOGLENET = (
    "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3", "inception4a",
    "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4", "inception5a", "inception5b",
)  # fmt: skip
SHUFFLENET = ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5", "fc")
REGNET = ("stem", "trunk_output", "avgpool", "fc")
CHILDREN: dict[str, tuple[str, ...]] = {
    "4.0.conv1.weight": RESNET,
    "15.branch3x3_1.conv.weight": INCEPTION,
    "16.branch3x3_1.conv.weight": (*INCEPTION[:15], "AuxLogits", *INCEPTION[15:]),
    "5.branch1.conv.weight": GOOGLENET,
    "2.0.branch2.0.weight": SHUFFLENET,
    "1.block1.block1-0.proj.0.weight": REGNET,
}
"""A key that only this network has when its children are numbered -> the children's names in order (torchvision)."""


def numbered_as(keys: Collection[str], prefix: str) -> tuple[str, ...]:
    """The children's names where the keys under ``prefix`` are numbered ones of a network known here, else nothing."""
    return next((names for anchor, names in CHILDREN.items() if prefix + anchor in keys), ())


def named(key: str, children: tuple[str, ...]) -> str:
    """``key`` with the child's name in the place of its number."""
    first, dot, rest = key.partition(".")
    known = first.isdigit() and int(first) < len(children)
    return (children[int(first)] if known else first) + dot + rest
