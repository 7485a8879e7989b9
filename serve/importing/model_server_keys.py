"""`config.properties` of TorchServe and MXNet Model Server, key by key; and what both say of one model.

The names are those of the servers' configuration pages.
"""

from __future__ import annotations

from serve.importing.base import TAKEN, Fate, needless, without

_TLS = without("not carried over: set gateway.tls, with certificate and key as PEM files")
_CORS = without("not carried over: list the origins in gateway.cors_origins")
_JAVA = needless("a setting of the Java front end")
_GPU = without("models run on CPUs; there is no key for GPUs")
_METRICS = without("there is no page of metrics; `GET /v2/models/stats` tells what was counted")
_TOKENS = without("keys are onegate's own: `access` of the config asks for them, `onegate keys` makes them")

KEYS: dict[str, Fate] = {
    "inference_address": TAKEN,
    "management_address": TAKEN,
    "metrics_address": _METRICS,
    "grpc_inference_address": without("gRPC listens on `gateway.host`"),
    "grpc_management_address": without("gRPC listens on `gateway.host`"),
    "grpc_inference_port": TAKEN,
    "grpc_management_port": without(
        "gRPC has one port; management answers there where `management_on_endpoint` is true"
    ),
    "grpc_inference_max_connection_age_ms": without("connections have no age"),
    "grpc_management_max_connection_age_ms": without("connections have no age"),
    "grpc_inference_max_connection_age_grace_ms": without("connections have no age"),
    "grpc_management_max_connection_age_grace_ms": without("connections have no age"),
    "model_store": TAKEN,
    "load_models": TAKEN,
    "models": TAKEN,
    "model_snapshot": TAKEN,
    "snapshot_store": needless("desired state lies in the store, generation by generation"),
    "workflow_store": without("workflows are not served"),
    "model_server_home": needless("names the old server's own files"),
    "model_config": needless("names the old server's own files"),
    "version": needless("the old server's own"),
    "tsConfigFile": needless("the old server's own"),
    "python": without("an archive's handler runs with this Python, or with `handler.python` of its model"),
    "vmargs": _JAVA,
    "debug": _JAVA,
    "async_logging": _JAVA,
    "number_of_netty_threads": _JAVA,
    "netty_client_threads": _JAVA,
    "prefer_direct_buffer": _JAVA,
    "use_native_io": _JAVA,
    "io_ratio": _JAVA,
    "initial_worker_port": _JAVA,
    "plugins_path": without("there are no plugins"),
    "default_workers_per_model": TAKEN,
    "default_response_timeout": TAKEN,
    "default_startup_timeout": without("a handler's start has the limit that its archive says"),
    "unregister_model_timeout": needless("a version that is retired finishes what it has"),
    "job_queue_size": TAKEN,
    "number_of_gpu": _GPU,
    "max_request_size": TAKEN,
    "max_response_size": without("answers have no limit"),
    "limit_max_image_pixels": needless("pictures always have a limit"),
    "decode_input_request": without("a handler gets JSON and text decoded"),
    "default_service_handler": without("the handler of an archive is the one that it names"),
    "service_envelope": without("every protocol is answered for every model"),
    "preload_model": needless("a handler is loaded before its replica answers"),
    "install_py_dep_per_model": needless("requirements of an archive get an environment of their own"),
    "use_venv": needless("requirements of an archive get an environment of their own"),
    "blacklist_env_vars": needless("a handler sees none of the server's environment"),
    "enable_envvars_config": without("variables of the old server are not read; onegate's begin with ONEGATE_"),
    "allowed_urls": without("`allowed_sources` has patterns in place of regular expressions: write them anew"),
    "keystore": _TLS,
    "keystore_pass": _TLS,
    "keystore_type": _TLS,
    "private_key_file": _TLS,
    "certificate_file": _TLS,
    "cors_allowed_origin": _CORS,
    "cors_allowed_methods": _CORS,
    "cors_allowed_headers": _CORS,
    "enable_metrics_api": _METRICS,
    "metrics_format": _METRICS,
    "metrics_config": _METRICS,
    "metrics_mode": _METRICS,
    "metric_time_interval": _METRICS,
    "disable_system_metrics": _METRICS,
    "system_metrics_cmd": _METRICS,
    "model_metrics_auto_detect": _METRICS,
    "disable_token_authorization": _TOKENS,
    "token_expiration_min": _TOKENS,
    "enable_model_api": needless("management calls answer on the management port"),
    "ts_open_inference_protocol": needless("the Open Inference Protocol is always answered"),
    "cpu_launcher_enable": without("`serve.cpus` gives each replica its cores"),
    "cpu_launcher_args": without("`serve.cpus` gives each replica its cores"),
    "ipex_enable": without("PyTorch's own kernels run what is not converted"),
    "ipex_gpu_enable": _GPU,
}

MODEL_KEYS: dict[str, Fate] = {
    "defaultVersion": TAKEN,
    "marName": TAKEN,
    "minWorkers": TAKEN,
    "maxWorkers": TAKEN,
    "batchSize": TAKEN,
    "maxBatchDelay": TAKEN,
    "responseTimeout": TAKEN,
    "jobQueueSize": TAKEN,
    "startupTimeout": without("a handler's start has the limit that its archive says"),
    "runtimeType": needless("the archive says so itself"),
    "deviceType": without("models run on CPUs; there is no key for GPUs"),
    "deviceIds": without("models run on CPUs; there is no key for GPUs"),
    "parallelType": without("a model is not spread over devices"),
    "parallelLevel": without("a model is not spread over devices"),
    "torchrun": without("a model is not spread over processes"),
    "maxRetryTimeoutInSec": needless("a replica that died is started again as long as its model is wanted"),
    "clientTimeoutInMills": without("a request that its client gave up is taken out of the queue"),
    "useJobTicket": without("requests wait in a queue"),
    "useVenv": needless("requirements of an archive get an environment of their own"),
    "asyncCommunication": without("a handler gets one batch at a time"),
    "continuousBatching": without("a handler gets one batch at a time"),
    "sequenceBatching": without("requests of a sequence are not kept together"),
    "sequenceMaxIdleMSec": without("requests of a sequence are not kept together"),
    "sequenceTimeoutMSec": without("requests of a sequence are not kept together"),
    "maxSequenceJobQueueSize": without("requests of a sequence are not kept together"),
    "maxNumSequence": without("requests of a sequence are not kept together"),
}
"""Of one version: in `models` and `model_snapshot`, and in an archive's `model-config.yaml`."""
