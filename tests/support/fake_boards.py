"""Boards made of files, as their kernels show themselves: what a run reads of temperature, power and throttling."""

from collections.abc import Mapping
from pathlib import Path

RASPBERRY_PI = {
    ".commands/vcgencmd get_throttled": "throttled=0x0\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61250\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    # The same zone once more, as the kernel's hwmon shows it.
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "61250\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "2400000\n",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2400000\n",
}
# An Orin: three channels with a shunt each, and the counters of its over-current protection.
JETSON = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "63625\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "58000\n",
    # Of a unit that is switched off the kernel gives an error instead of a number.
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device1/cur_state": "0\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1856\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr2_input": "400\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "2\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1113600\n",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1510400\n",
}
LAPTOP = {
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "71000\n",
    "sys/class/thermal/cooling_device0/type": "Processor\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/hwmon/hwmon2/name": "coretemp\n",
    "sys/class/hwmon/hwmon2/temp1_label": "Package id 0\n",
    "sys/class/hwmon/hwmon2/temp1_input": "72000\n",
    "sys/class/hwmon/hwmon2/temp2_label": "Core 0\n",
    "sys/class/hwmon/hwmon2/temp2_input": "72000\n",
    "sys/class/hwmon/hwmon3/name": "nvme\n",
    "sys/class/hwmon/hwmon3/temp1_label": "Composite\n",
    "sys/class/hwmon/hwmon3/temp1_input": "41850\n",
    "sys/class/hwmon/hwmon4/name": "ina226\n",
    "sys/class/hwmon/hwmon4/in1_input": "12000\n",
    "sys/class/hwmon/hwmon4/curr1_input": "900\n",
    "sys/class/hwmon/hwmon4/power1_input": "10750000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "0\n",
}


def write_board(root: Path, files: Mapping[str, str]) -> Path:
    """Make a folder that stands for the board, or change one."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
