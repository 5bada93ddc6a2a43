"""Names and shapes of published medical checkpoints, as the code that was published with them builds them.

No values: everything lies on the meta device. Text towers and decoders are given by a few of their keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from spelt import (
    DOTTED,
    HUGE,
    LARGE,
    SMALL,
    SWIGLU,
    Shapes,
    State,
    before_five,
    bert,
    deep,
    efficientnet_pytorch,
    empty,
    grey,
    mae,
    of,
    old_swin,
    renamed,
    transformers_model,
    under,
    vision,
    vit,
    vit_pytorch,
    without,
)
from timm.models.swin_transformer import SwinTransformer
from torch import nn


@dataclass(frozen=True)
class Layout:
    """One published checkpoint: its row in docs/checkpoints.md, and its tensors."""

    name: str
    build: Callable[[], State]
    needs: tuple[str, ...] = ()
    """Packages that build it, beyond what reid-audit depends on."""


def chexnet() -> State:
    state = without(vision("densenet121"), "classifier.")
    state |= empty(classifier__0__weight=(14, 1024), classifier__0__bias=(14,))
    return under("module.densenet121.", renamed(state, DOTTED))


def jfhealthcare() -> State:
    state = under("backbone.", without(vision("densenet121"), "classifier."))
    for n in range(5):
        state |= under(f"fc_{n}.", empty(weight=(1, 1024, 1, 1), bias=(1,)))
        state |= under(f"bn_{n}.", empty(weight=(1024,), bias=(1024,), running_mean=(1024,), running_var=(1024,)))
    return state | empty(attention_map__channel_attention__fc1__weight=(64, 1024))


def resnet_autoencoder() -> State:
    state = grey(without(vision("resnet101"), "fc.", "layer4."), "conv1.weight")
    for n, taken in enumerate((1024, 512, 512)):
        state |= under(f"layer4.{n}.", empty(conv1__weight=(128, taken, 1, 1), bn1__weight=(128,)))
    return state | empty(uplayer1__0__conv1__weight=(128, 512, 1, 1), conv1_1__weight=(64, 1, 1, 1))


def moco(name: str, head: str, width: int) -> State:
    state = without(vision(name), f"{head}.")
    state |= under(f"{head}.", empty(**{"0__weight": (width, width), "0__bias": (width,)}))
    state |= under(f"{head}.", empty(**{"2__weight": (128, width), "2__bias": (128,)}))
    both = under("module.encoder_q.", state) | under("module.encoder_k.", state)
    return both | {"module.queue": torch.empty(128, 65536, device="meta")}


def gloria() -> State:
    state = under("gloria.img_encoder.model.", without(vision("resnet50"), "fc."))
    heads = empty(
        global_embedder__weight=(768, 2048), global_embedder__bias=(768,), local_embedder__weight=(768, 1024, 1, 1)
    )
    return state | under("gloria.img_encoder.", heads) | bert("gloria.text_encoder.model.")


NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def children(state: State) -> State:
    return {f"{NUMBERS[k.split('.')[0]]}.{k.partition('.')[2]}": v for k, v in without(state, "fc.").items()}


def convirt() -> State:
    state = under("res_features.", children(vision("resnet50")))
    state |= empty(res_l1__weight=(2048, 2048), res_l2__weight=(128, 2048), bert_l1__weight=(768, 768))
    return state | bert("bert_model.")


def biovil() -> State:
    projector = {"0__weight": (128, 2048, 1, 1), "1__weight": (128,), "3__weight": (128, 128, 1, 1), "3__bias": (128,)}
    return under("encoder.encoder.", vision("resnet50")) | under("projector.model.", empty(**projector))


def biovil_t() -> State:
    more = empty(
        backbone_to_vit__weight=(256, 2048, 1, 1), missing_previous_emb=(1, 256, 1, 1),
        vit_pooler__blocks__0__norm1__weight=(256,), vit_pooler__type_embed=(2, 1, 256),
    )  # fmt: skip
    return biovil() | under("encoder.", more)


def medclip() -> State:
    options = {"image_size": 224, "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
    state = under("vision_model.model.", transformers_model("Swin", **options))
    return state | empty(vision_model__projection_head__weight=(512, 768), logit_scale=()) | bert("text_model.model.")


def medsam() -> State:
    encoder = renamed(of(lambda: timm.create_model("samvit_base_patch16")), (r"\.mlp\.fc", ".mlp.lin"))
    return under("image_encoder.", encoder) | empty(
        prompt_encoder__not_a_point_embed__weight=(1, 256), prompt_encoder__point_embeddings__0__weight=(1, 256),
        mask_decoder__iou_token__weight=(1, 256), mask_decoder__transformer__norm_final_attn__weight=(256,),
    )  # fmt: skip


def ark() -> State:
    base = of(lambda: SwinTransformer(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)))
    state = without(old_swin(base), "head.")
    more = {
        f"omni_heads__{n}__{leaf}": (14, 1376)[: 2 if leaf == "weight" else 1]
        for n in range(6)
        for leaf in ("weight", "bias")
    }
    return state | empty(projector__weight=(1376, 1024), projector__bias=(1376,), **more)


def ctranspath() -> State:
    state = without(old_swin(of(lambda: SwinTransformer(num_classes=0))), "patch_embed.proj.")
    stem = {
        "0__weight": (12, 3, 3, 3),
        "1__weight": (12,),
        "1__running_mean": (12,),
        "3__weight": (24, 12, 3, 3),
        "6__weight": (96, 24, 1, 1),
    }
    return state | under("patch_embed.proj.", empty(**stem))


def eva_x() -> State:
    state = of(lambda: timm.models.eva.Eva(
        patch_size=16, embed_dim=768, depth=12, num_heads=12, mlp_ratio=4 * 2 / 3, swiglu_mlp=True, qkv_fused=False,
        use_rot_pos_emb=True, ref_feat_shape=(14, 14), num_classes=0,
    ))  # fmt: skip
    return renamed(
        state, (r"mlp\.fc1_g\.", "mlp.w1."), (r"mlp\.fc1_x\.", "mlp.w2."), (r"mlp\.fc2\.", "mlp.w3."),
        (r"(q|v)_proj\.bias", r"\1_bias"),
    )  # fmt: skip


def plip() -> State:
    vision_tower = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "patch_size": 32}
    return transformers_model("CLIP", vision_config=vision_tower)


def chexzero() -> State:
    import open_clip

    return of(lambda: open_clip.model.CLIP(
        512, open_clip.model.CLIPVisionCfg(layers=12, width=768, patch_size=32), open_clip.model.CLIPTextCfg()
    ))  # fmt: skip


def biomedclip() -> State:
    state = under("visual.trunk.", vit()) | {"visual.head.proj.weight": torch.empty(512, 768, device="meta")}
    return state | bert("text.transformer.") | empty(logit_scale=(), text__proj__0__weight=(640, 768))


def kimianet() -> State:
    features = renamed(without(vision("densenet121"), "classifier."), (r"^features\.", "0."))
    return under("module.model.", features) | empty(module__fc_4__weight=(30, 1024), module__fc_4__bias=(30,))


def radimagenet_densenet() -> State:
    return renamed(without(vision("densenet121"), "classifier."), (r"^features\.", "backbone.0."))


def radimagenet_inception() -> State:
    with torch.device("meta"):
        module = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    return under("backbone.", nn.Sequential(*list(module.children())[:-1]).state_dict())


def melanoma() -> State:
    state = under("enet.", without(of(lambda: timm.create_model("tf_efficientnet_b4")), "classifier."))
    meta = {"0__weight": (512, 14), "0__bias": (512,), "1__weight": (512,), "4__weight": (128, 512), "4__bias": (128,)}
    return state | under("meta.", empty(**meta)) | empty(myfc__weight=(9, 1920), myfc__bias=(9,))


def medmnist() -> State:
    state = renamed(vision("resnet18", 9), (r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear."))
    return state | {"conv1.weight": torch.empty(64, 3, 3, 3, device="meta")}


def nnunet_v1() -> State:
    block = {"conv__weight": (32, 1, 3, 3), "conv__bias": (32,), "instnorm__weight": (32,), "instnorm__bias": (32,)}
    return under("conv_blocks_context.0.blocks.0.", empty(**block)) | empty(
        conv_blocks_localization__0__0__blocks__0__conv__weight=(480, 960, 3, 3), tu__0__weight=(480, 480, 2, 2),
        seg_outputs__0__weight=(2, 480, 1, 1),
    )  # fmt: skip


def nnunet_v2(dimensions: int) -> State:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    kinds = {2: (nn.Conv2d, nn.InstanceNorm2d), 3: (nn.Conv3d, nn.InstanceNorm3d)}[dimensions]
    return of(lambda: PlainConvUNet(
        1, 3, (32, 64, 128), kinds[0], 3, (1, 2, 2), 2, num_classes=2, n_conv_per_stage_decoder=2, conv_bias=True,
        norm_op=kinds[1], norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, deep_supervision=True,
    ))  # fmt: skip


def stu_net() -> State:
    return empty(
        conv_blocks_context__0__0__conv1__weight=(32, 1, 3, 3, 3), conv_blocks_context__0__0__norm1__weight=(32,),
        conv_blocks_localization__0__0__conv1__weight=(512, 1024, 3, 3, 3), seg_outputs__0__weight=(105, 512, 1, 1, 1),
    )  # fmt: skip


def monai(build: Callable[[Any], nn.Module]) -> State:
    from monai.networks import nets

    return of(lambda: build(nets))


def hovernet() -> State:
    unit = {
        "preact/bn__weight": (64,),
        "conv1__weight": (64, 64, 1, 1),
        "conv1/bn__weight": (64,),
        "conv2__weight": (64, 64, 3, 3),
    }
    return under("d0.units.0.", empty(**unit)) | {"conv0./.weight": torch.empty(64, 3, 7, 7, device="meta")} | empty(
        conv_bot__weight=(1024, 2048, 1, 1), decoder__np__u3__conva__weight=(256, 1024, 5, 5),
    )  # fmt: skip


def genesis() -> State:
    return under("module.", empty(
        down_tr64__ops__0__conv1__weight=(32, 1, 3, 3, 3), down_tr64__ops__0__bn1__running_mean=(32,),
        up_tr256__up_conv__weight=(512, 512, 2, 2, 2), out_tr__final_conv__weight=(1, 64, 1, 1, 1),
    ))  # fmt: skip


def nyu_breast() -> State:
    view = {"first_conv__weight": (16, 1, 7, 7), "layer_list__0__0__bn1__running_mean": (16,),
            "layer_list__0__0__conv1__weight": (16, 16, 3, 3), "final_bn__weight": (256,)}  # fmt: skip
    both = under("four_view_resnet.cc.", empty(**view)) | under("four_view_resnet.mlo.", empty(**view))
    return both | empty(fc1_cc__weight=(512, 512), output_layer_cc__fc_layer__weight=(8, 512))


def brain_unet() -> State:
    block = {"enc1conv1__weight": (32, 3, 3, 3), "enc1norm1__weight": (32,), "enc1norm1__running_mean": (32,)}
    return under("encoder1.", empty(**block)) | empty(upconv4__weight=(512, 256, 2, 2), conv__weight=(1, 32, 1, 1))


def milesial_unet() -> State:
    return empty(
        inc__double_conv__0__weight=(64, 3, 3, 3), inc__double_conv__1__running_mean=(64,),
        down1__maxpool_conv__1__double_conv__0__weight=(128, 64, 3, 3), up1__up__weight=(1024, 512, 2, 2),
        outc__conv__weight=(2, 64, 1, 1),
    )  # fmt: skip


def transunet() -> State:
    state = vit_pytorch(vit(class_token=False, global_pool="avg", fc_norm=False))
    return state | empty(
        transformer__embeddings__hybrid_model__root__conv__weight=(64, 3, 7, 7),
        decoder__conv_more__0__weight=(512, 768, 3, 3), segmentation_head__0__weight=(9, 16, 3, 3),
    )  # fmt: skip


def chexfusion() -> State:
    state = under("backbone.model.", without(of(lambda: timm.create_model("convnext_small")), "head.fc."))
    return state | under("backbone.", empty(
        conv2d__weight=(768, 768, 3, 3), padding_token=(1, 768, 1, 1), segment_embedding=(4, 768, 1, 1),
        head__decoder__layers__0__norm1__weight=(768,),
    ))  # fmt: skip


def giant(patch: int, depth: int, **options: Any) -> State:
    return vit(patch_size=patch, embed_dim=1536, depth=depth, num_heads=24, mlp_ratio=2.66667 * 2, **SWIGLU, **options)


def teacher(state: State, head: Shapes) -> State:
    return under("teacher.backbone.", state) | under("teacher.dino_head.", empty(**head))


LAYOUTS = (
    Layout("CheXNet reimplementation", chexnet),
    Layout("torchxrayvision DenseNet", lambda: grey(vision("densenet121", 18), "features.conv0.weight")
           | empty(op_threshs=(18,))),
    Layout("torchxrayvision ResNet-50", lambda: grey(vision("resnet50", 18), "conv1.weight")),
    Layout("torchxrayvision autoencoder", resnet_autoencoder),
    Layout("JF Healthcare CheXpert", jfhealthcare),
    Layout("CheXpert ensemble", lambda: under("module.model.", vision("densenet121", 15))),
    Layout("MoCo-CXR ResNet-18", lambda: moco("resnet18", "fc", 512)),
    Layout("MoCo-CXR DenseNet-121", lambda: moco("densenet121", "classifier", 1024)),
    Layout("CheSS", lambda: moco("resnet50", "fc", 2048)),
    Layout("GLoRIA", gloria),
    Layout("ConVIRT", convirt),
    Layout("BioViL", biovil),
    Layout("BioViL-T", biovil_t),
    Layout("REFERS, fine-tuned", lambda: vit_pytorch(vit(num_classes=14))),
    Layout("MedCLIP", medclip, ("transformers",)),
    Layout("MedSAM", medsam),
    Layout("RETFound, pre-trained", lambda: mae(vit(**LARGE), 1024)),
    Layout("RETFound, fine-tuned", lambda: vit(**LARGE, num_classes=5, global_pool="avg")),
    Layout("medical MAE, fine-tuned", lambda: vit(**SMALL, num_classes=14, global_pool="avg")),
    Layout("RadImageNet ResNet-50", lambda: under("backbone.", children(vision("resnet50")))),
    Layout("RadImageNet DenseNet-121", radimagenet_densenet),
    Layout("RadImageNet Inception v3", radimagenet_inception),
    Layout("CheXzero", chexzero, ("open_clip",)),
    Layout("BiomedCLIP", biomedclip),
    Layout("PLIP", plip, ("transformers",)),
    Layout("RAD-DINO", lambda: before_five(transformers_model(
        "Dinov2", hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=518, patch_size=14)),
           ("transformers",)),
    Layout("EVA-X", eva_x),
    Layout("Ark", ark),
    Layout("CheXFusion (CXR-LT 2023)", chexfusion),
    Layout("SIIM-ISIC melanoma, first place", melanoma),
    Layout("efficientnet_pytorch, fine-tuned", lambda: efficientnet_pytorch(of(
        lambda: timm.create_model("tf_efficientnet_b0", num_classes=5)))),
    Layout("MedMNIST ResNet-18", medmnist),
    Layout("UNI", lambda: vit(**LARGE, init_values=1e-5)),
    Layout("UNI2-h", lambda: giant(14, 24, reg_tokens=8, no_embed_class=True)),
    Layout("Virchow", lambda: vit(**HUGE)),
    Layout("Virchow2", lambda: vit(**HUGE, reg_tokens=4)),
    Layout("Prov-GigaPath, tiles", lambda: giant(16, 40)),
    Layout("H-optimus-0", lambda: giant(14, 40, reg_tokens=4, no_embed_class=True)),
    Layout("Phikon", lambda: before_five(transformers_model("ViT")), ("transformers",)),
    Layout("CTransPath", ctranspath),
    Layout("Lunit DINO", lambda: vit(**SMALL)),
    Layout("HIPT", lambda: teacher(
        vit(**SMALL), {"mlp__0__weight": (2048, 384), "last_layer__weight_v": (65536, 256)})),
    Layout("KimiaNet", kimianet),
    Layout("HoVer-Net", hovernet),
    Layout("EchoNet-Dynamic, segmentation", lambda: under("module.", of(
        lambda: torchvision.models.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=1, aux_loss=False)))),
    Layout("EchoNet-Dynamic, ejection fraction", lambda: under("module.", of(
        lambda: torchvision.models.video.r2plus1d_18(weights=None, num_classes=1)))),
    Layout("NYU breast cancer", nyu_breast),
    Layout("brain U-Net of PyTorch Hub", brain_unet),
    Layout("Pytorch-UNet", milesial_unet),
    Layout("TransUNet", transunet),
    Layout("nnU-Net v1, 2-D", nnunet_v1),
    Layout("nnU-Net v2, 2-D", lambda: nnunet_v2(2), ("dynamic_network_architectures",)),
    Layout("TotalSegmentator (nnU-Net v2, 3-D)", lambda: nnunet_v2(3), ("dynamic_network_architectures",)),
    Layout("STU-Net", stu_net),
    Layout("MONAI bundle brats_mri_segmentation", lambda: monai(lambda m: m.SegResNet(
        blocks_down=[1, 2, 2, 4], blocks_up=[1, 1, 1], init_filters=16, in_channels=4, out_channels=3)), ("monai",)),
    Layout("MONAI bundle spleen_ct_segmentation", lambda: monai(lambda m: m.UNet(
        3, 1, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch")), ("monai",)),
    Layout("MONAI bundle swin_unetr_btcv_segmentation", lambda: monai(lambda m: m.SwinUNETR(
        in_channels=1, out_channels=14, feature_size=48)), ("monai",)),
    Layout("MONAI bundle breast_density_classification", lambda: under("features.", of(
        lambda: torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=4)))),
    Layout("MONAI bundle pathology_tumor_detection", lambda: under("features.", children(vision("resnet18")))
           | empty(fc__weight=(1, 512, 1, 1), fc__bias=(1,))),
    Layout("MONAI bundle endoscopic_tool_segmentation", lambda: monai(lambda m: m.FlexibleUNet(
        3, 2, "efficientnet-b2", spatial_dims=2)), ("monai",)),
    Layout("MedicalNet", lambda: under("module.", deep(grey(without(vision("resnet50"), "fc."), "conv1.weight"))
           | empty(conv_seg__0__weight=(2048, 32, 2, 2, 2)))),
    Layout("Models Genesis", genesis),
)  # fmt: skip
