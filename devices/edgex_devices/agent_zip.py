"""The agent as one file that `python3` runs: sent along with every request, and part of every bundle."""

import io
import zipfile
from functools import cache
from importlib import resources

# What the agent is made of; `edgex_runtime` lends it what stands on Python alone.
_AGENT_FILES = {
    "edgex_devices": ("__init__.py",),
    "edgex_devices.agent": (),
    "edgex_runtime": ("__init__.py", "errors.py", "atomic.py"),
}
_MAIN = "import sys\nfrom edgex_devices.agent.main import main\nsys.exit(main(sys.argv[1:]))\n"
_DATE = (1980, 1, 1, 0, 0, 0)


@cache
def agent_zip() -> bytes:
    """The same source gives the same bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _DATE), _MAIN)
        for package, names in _AGENT_FILES.items():
            folder = resources.files(package)
            chosen = names or sorted(item.name for item in folder.iterdir() if item.name.endswith(".py"))
            for name in chosen:
                member = zipfile.ZipInfo(f"{package.replace('.', '/')}/{name}", _DATE)
                archive.writestr(member, folder.joinpath(name).read_bytes())
    return data.getvalue()
