"""Put what was asked and what was read into the words of the decision."""

from sekisho.broker.cluster import Surroundings
from sekisho.broker.releasefacts import Question as KeyQuestion
from sekisho.broker.releasefacts import Workload
from sekisho.broker.wire import Question


def read_question(question: Question) -> KeyQuestion:
    """Say which key is asked for, in the words of the decision."""
    wrapped, context = question.wrapped, question.context
    return KeyQuestion(
        model=context.model,
        version=context.version,
        data_class=context.data_class,
        manifest_digest=question.manifest_digest,
        kms=wrapped.kms,
        key_id=wrapped.key_id,
        key_version=wrapped.key_version,
    )


def read_workload(around: Surroundings) -> Workload:
    """Say who asks, in the words of the decision."""
    pod = around.pod
    users = (around.service.get("spec") or {}).get("users") or ()
    return Workload(
        namespace=pod.namespace,
        service=pod.service,
        pod=pod.name,
        uid=pod.uid,
        node=pod.node,
        images=pod.images,
        template_digest=pod.template_digest,
        expected_template_digest=around.expected_digest,
        service_class=pod.class_label,
        site=pod.site,
        node_labels=around.node.labels,
        node_key=around.node.chip_id,
        users=frozenset(str(item) for item in users),
        gpus=pod.gpus,
    )
