"""Finding, loading and checking the shared library."""

import subprocess
from pathlib import Path

import pytest
from processes import BUILD, DEADLINE, run_python

from aperture_sdk import ApertureClient, __version__, _abi, _library
from aperture_sdk.errors import LibraryError

MAKE_CLIENT = """
from aperture_sdk.client import ApertureClient
try:
    ApertureClient.new_client(address="local:").close()
except ImportError as error:
    print(type(error).__name__, error)
else:
    from aperture_sdk import _library
    print("loaded", _library.load().path)
"""


def compile_library(folder: Path, source: str) -> Path:
    path = folder / "library.so"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=source, text=True, check=True, timeout=DEADLINE)
    return path


def test_the_library_of_the_checkout_is_found() -> None:
    assert _library.load().path == str(BUILD / "libaperture.so")
    assert _library.load().version() == __version__


def test_the_environment_names_another_one(tmp_path: Path) -> None:
    link = tmp_path / "named.so"
    link.symlink_to(BUILD / "libaperture.so")
    done = run_python(MAKE_CLIENT, env={"APERTURE_LIBRARY": str(link)})
    assert done.stdout == f"loaded {link}\n", done.stderr


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run_python(MAKE_CLIENT, env={"APERTURE_LIBRARY": str(tmp_path / "absent.so")})
    assert done.stdout == f"LibraryError APERTURE_LIBRARY names {tmp_path}/absent.so, which is not there\n"


def test_a_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("no library")
    with pytest.raises(LibraryError, match=r"text\.so cannot be loaded: .*invalid ELF header|file too short"):
        _library.Library(str(path))


def test_a_library_of_something_else_is_refused(tmp_path: Path) -> None:
    path = compile_library(tmp_path, "int other(void) { return 1; }")
    with pytest.raises(LibraryError, match="is not libaperture: it has no aperture_abi_version"):
        _library.Library(str(path))


def test_another_abi_version_is_refused_with_both_versions_and_the_path(tmp_path: Path) -> None:
    path = compile_library(tmp_path, "unsigned aperture_abi_version(void) { return 999; }")
    message = f"{path} has ABI version 999, but this package needs ABI version {_abi.ABI_VERSION}"
    with pytest.raises(ImportError, match=message):
        _library.Library(str(path))


def test_a_library_that_lacks_a_function_is_refused(tmp_path: Path) -> None:
    path = compile_library(tmp_path, f"unsigned aperture_abi_version(void) {{ return {_abi.ABI_VERSION}; }}")
    with pytest.raises(LibraryError, match="is damaged or was made of other sources"):
        _library.Library(str(path))


def test_a_musl_system_is_refused_with_what_to_do(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 00:01 1 /lib/ld-musl-x86_64.so.1\n")
    with pytest.raises(LibraryError, match="needs glibc: this Python runs on musl"):
        _library._refuse_musl(str(maps))
    _library._refuse_musl()
    _library._refuse_musl(str(tmp_path / "absent"))


def test_a_missing_library_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("APERTURE_LIBRARY", raising=False)
    monkeypatch.setattr(_library, "FILE_NAME", "libabsent.so")
    with pytest.raises(LibraryError, match=r"aperture_sdk/libabsent\.so or .*build/libabsent\.so; .* make build"):
        _library._find()


def test_an_import_does_not_load_it() -> None:
    code = "import aperture_sdk, aperture_sdk.flow; print('libaperture' in open('/proc/self/maps').read())"
    assert run_python(code).stdout == "False\n"


def test_the_first_client_loads_it_once(open_client: ApertureClient) -> None:
    assert open_client._library is _library.load()
