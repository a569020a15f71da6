"""The public repositories whose own code make_golden.py runs, each at one commit.

They lie as git repositories (bare or not, not modified) in one folder under the names below. Files are read out of the
commit, so what the repository has checked out does not matter. Nothing of them is part of this project.
"""

import ast
import functools
import importlib
import json
import subprocess
import sys
import tempfile
import types
from pathlib import Path

COMMITS = {
    "attention-gym": "7fdb85d0b96668397adee48de54b6f1036497717",  # meta-pytorch
    "mslk": "2a3c89786adf55359cfcc5d5cb9f4c41875eaac6",  # meta-pytorch/MSLK: where xformers' attn_bias lives now
    "flash-attention": "0251105a2fb19d2957484b7f023cd8c115286ced",  # Dao-AILab
    "flashmask": "9985af538d20bd7a56c7a5f5ea13294d454a011a",  # PaddlePaddle/flash-attention
    "flashinfer": "fb28d7242b3506a2348265962041acc1fb56cca4",  # flashinfer-ai
    "penzai": "aac7808a3d1269ea9885094d78d2274d56fc7449",  # google-deepmind
    "modded-nanogpt": "1b51e26d304f647c7c12201b3f1513ee5a429ec4",  # KellerJordan
    "ollama": "f63eea3d273816ffc27fbeb0662ab44d236abc45",  # holds llama.cpp ec98e2002
}


class Originals:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.scratch = tempfile.TemporaryDirectory(prefix="originals_")
        self.root = Path(self.scratch.name)

    def version(self, name):
        return f"{name} {COMMITS[name][:7]}"

    @functools.cache
    def text(self, name, path):
        command = ["git", "-C", str(self.folder / name), "show", f"{COMMITS[name]}:{path}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def files(self, name, folder):
        command = ["git", "-C", str(self.folder / name), "ls-tree", "-r", "--name-only", COMMITS[name], folder + "/"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    def package(self, name, folders, stand_ins):
        """The .py files of `folders` as an importable package; `stand_ins` {path: text} take the place of files."""
        root = self.root / name
        paths = [path for folder in folders for path in self.files(name, folder) if path.endswith(".py")]
        texts = {path: self.text(name, path) for path in paths if path not in stand_ins} | stand_ins
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()

    def module(self, name, path, stand_ins, package=""):
        """One file run as a module, its imports answered by `stand_ins` {module name: attributes} where named."""
        modules = {each: types.ModuleType(each) for each in stand_ins}
        for each, attributes in stand_ins.items():
            vars(modules[each]).update(attributes)
            parent, _, child = each.rpartition(".")
            if parent in modules:
                setattr(modules[parent], child, modules[each])
        before = {each: sys.modules.get(each) for each in modules}
        sys.modules.update(modules)
        module = types.ModuleType(package + ".original" if package else "original")
        module.__package__ = package
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.text(name, path), path, "exec"), vars(module))
        finally:
            for each, old in before.items():
                if old is None:
                    del sys.modules[each]
                else:
                    sys.modules[each] = old
            del sys.modules[module.__name__]
        return module

    def functions(self, name, path, names, namespace):
        """Functions of a script or notebook (of its top level, or methods), without running the rest of it.

        They see `namespace` as their globals. A name that is defined several times gives the last one.
        """
        text = self.text(name, path)
        if path.endswith(".ipynb"):
            cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            text = "\n".join(cells)
        top = ast.parse(text).body
        nodes = [node for each in top for node in (each.body if isinstance(each, ast.ClassDef) else [each])]
        found = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        for each in names:
            exec(compile(ast.Module([found[each]], []), path, "exec"), namespace)
        return types.SimpleNamespace(**{each: namespace[each] for each in names})
