"""The status of a Runtime: whether it can be used, and whether its image is named by digest."""

from sekisho.api.v1alpha1.runtime import RuntimeStatus
from sekisho.errors import Reason, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.conditions import Aspect, is_false, is_true
from sekisho.plan.world import Published, RuntimeObject
from sekisho.render.images import has_digest

_KIND = "ImageByDigest"


def plan_runtime(obj: RuntimeObject, *, now_at: float) -> Published:
    """Decide the status of a runtime; an image without a digest is told of and is no refusal by itself."""
    if isinstance(obj.spec, Rejection):
        facet, body = refuse(obj.spec), {}
    else:
        facet = accept("the runtime can be used", more=[_judge_image(obj.spec.image)])
        body = {"formats": ", ".join(item.name for item in obj.spec.formats)[:600]}
    return publish(RuntimeStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)


def _judge_image(image: str) -> Aspect:
    if has_digest(image):
        return is_true(_KIND, Reason.IMAGE_BY_DIGEST, "the image is named by digest")
    return is_false(
        _KIND,
        Reason.IMAGE_NOT_BY_DIGEST,
        f'image "{image}" has no digest, so its content may change; classes that demand images by digest refuse it',
    )
