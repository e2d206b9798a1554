"""The Prometheus collector of the machine's NVIDIA GPUs, if there are any."""

import importlib
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class GpuCollector(Collector):
    """Figures of each GPU from the NVIDIA driver, read at every scrape."""

    def __init__(self, nvml: Any) -> None:
        """`nvml` is the module pynvml, initialised."""
        self._nvml = nvml

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Utilisation 0..1, memory in bytes, temperature in degrees Celsius, power in watts."""
        nvml = self._nvml
        use = GaugeMetricFamily("lapsrn_gpu_utilization_ratio", "Share of time the GPU was busy", labels=["device"])
        used = GaugeMetricFamily("lapsrn_gpu_memory_used_bytes", "GPU memory in use", labels=["device"])
        total = GaugeMetricFamily("lapsrn_gpu_memory_total_bytes", "GPU memory", labels=["device"])
        heat = GaugeMetricFamily("lapsrn_gpu_temperature_celsius", "GPU temperature", labels=["device"])
        power = GaugeMetricFamily("lapsrn_gpu_power_watts", "GPU power draw", labels=["device"])
        for index in range(nvml.nvmlDeviceGetCount()):
            device, name = nvml.nvmlDeviceGetHandleByIndex(index), [f"cuda:{index}"]
            memory = nvml.nvmlDeviceGetMemoryInfo(device)
            use.add_metric(name, nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100.0)
            used.add_metric(name, memory.used)
            total.add_metric(name, memory.total)
            heat.add_metric(name, nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU))
            power.add_metric(name, nvml.nvmlDeviceGetPowerUsage(device) / 1000.0)
        yield from (use, used, total, heat, power)


def watch_gpus(registry: CollectorRegistry) -> bool:
    """Adds GPU figures; False if there is no driver or the extra `gpu` is not installed."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        registry.register(GpuCollector(nvml))
    except Exception:  # no module, no driver, or an unresponsive driver: none of these should prevent the start
        return False
    return True
