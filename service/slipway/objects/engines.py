"""What an LLMService means for one engine: the arguments of `slipway engine`, in a pod and in a process."""

from slipway.objects.llmservices import LLMService


def engine_args(service: LLMService) -> list[str]:
    """The arguments of `slipway engine` that serve `service`; address and port are the caller's to add."""
    model, engine = service.spec.model, service.spec.engine
    args = ["--source", model.source, "--name", service.served_name, "--task", model.task]
    args += ["--runtime", engine.runtime]
    args += ["--device", engine.device, "--dtype", engine.dtype]
    if engine.max_model_len is not None:
        args += ["--max-model-len", str(engine.max_model_len)]
    args += [
        "--tensor-parallel",
        str(engine.tensor_parallel),
        "--pipeline-parallel",
        str(engine.pipeline_parallel),
    ]
    for adapter in service.spec.adapters:
        args += ["--adapter", f"{adapter.name}={adapter.source}"]
    if engine.args:
        args += ["--", *engine.args]
    return args


def takes_adapters(service: LLMService) -> bool:
    """Whether its engines have room for adapters, also for ones that come while they run."""
    spec = service.spec
    given = {arg.split("=", 1)[0].replace("_", "-") for arg in spec.engine.args}
    return spec.engine.runtime == "vllm" and (bool(spec.adapters) or "--enable-lora" in given)
