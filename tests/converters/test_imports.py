import subprocess
import sys

from converters.sandbox import PACKAGE_ROOT
from tests.frameworks import FRAMEWORKS


def test_the_converters_import_no_framework() -> None:
    code = (
        "import sys; from converters.base import CONVERTERS, load_converter; import converters.publish\n"
        "[load_converter(name) for name in CONVERTERS]\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (FRAMEWORKS | {"ray"}) == set()


def test_the_package_itself_imports_nothing_of_its_modules() -> None:
    code = "import sys, converters; print([name for name in sys.modules if name.startswith(('converters.', 'onnx'))])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
