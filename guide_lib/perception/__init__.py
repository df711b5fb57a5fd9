"""Networks that look at pictures: the face detector, the identity embedder, the judge, LPIPS, Inception."""

from guide_lib.perception.albums import check_pictures, load_person, pictures_in
from guide_lib.perception.detection import detect_faces, find_landmarks
from guide_lib.perception.faces import align
from guide_lib.perception.identity import Embedder, identity_cosine, load_embedder, load_judge
from guide_lib.perception.inception import load_inception
from guide_lib.perception.perceptual import LPIPS, load_lpips
from guide_lib.perception.photos import load_face, load_photo
from guide_lib.perception.pose import views_of

__all__ = [
    "Embedder",
    "LPIPS",
    "align",
    "check_pictures",
    "detect_faces",
    "find_landmarks",
    "identity_cosine",
    "load_embedder",
    "load_face",
    "load_inception",
    "load_judge",
    "load_lpips",
    "load_person",
    "load_photo",
    "pictures_in",
    "views_of",
]
