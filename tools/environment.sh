# Read by the tools: makes the environment `.venv` of this clone and installs tfc into it.
#
#   . tools/environment.sh; prepare test      tfc with the extra "test"
#
# TFC_VENV names another folder. An environment that is complete is used as it is.

prepare() {
    extra=$1
    venv=${TFC_VENV:-.venv}
    python=$venv/bin/python
    if [ ! -x "$python" ]; then
        base=$(newest_python) || exit 1
        echo "making $venv with $("$base" --version)" >&2
        "$base" -m venv "$venv" || exit 1
    fi
    stamp=$venv/tfc-$extra
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        echo "installing tfc[$extra] into $venv" >&2
        "$python" -m pip install --quiet --disable-pip-version-check -e ".[$extra]" || exit 1
        touch "$stamp"
    fi
}

newest_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "tfc needs Python 3.11 or later: none of python3, python3.14 ... python3.11 is" >&2
    return 1
}
