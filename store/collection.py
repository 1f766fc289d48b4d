"""Every model there is to use: those of the own store, of further stores that are only read, and other tools' files.

One name means one model: the own store's comes first, then the others in the order of the settings. An alias is a
further name for a model; it stands where no model has that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from corral.store.catalog import Catalog, Inventory, StoredModel, newest_first
from corral.store.errors import BrokenManifest, ModelNotFound
from corral.store.folders import GgufFolder
from corral.store.loose import LooseModels
from corral.store.names import ModelName


class Collection:
    """What can be used, and which of it is ours to change. Safe from any thread."""

    def __init__(
        self,
        own: Catalog,
        others: Sequence[Catalog] = (),
        folders: Sequence[GgufFolder] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._own = own
        self._others = tuple(others)
        self._loose = LooseModels(folders)
        self.call(aliases or {})

    def call(self, aliases: Mapping[str, str]) -> None:
        """Take other aliases from now on: further names, and the models they mean."""
        self._aliases = {ModelName.parse(alias).key: (alias, model) for alias, model in aliases.items()}

    def inventory(self) -> Inventory:
        """The own store, which is all that is planned for and changed."""
        return self._own.scan()

    def owns(self, model: StoredModel) -> bool:
        """Whether a model lies in the own store."""
        return model.files == self._own.paths

    def scan(self) -> tuple[StoredModel, ...]:
        """All models, newest first, and after each its aliases."""
        found: dict[tuple[str, str, str, str], StoredModel] = {}
        for catalog in (self._own, *self._others):
            for model in catalog.scan().models:
                found.setdefault(model.name.key, model)
        for model in self._loose.scan():
            found.setdefault(model.name.key, model)
        models = sorted(found.values(), key=newest_first)
        aliases = self._aliases
        if not aliases:
            return tuple(models)
        meant: dict[tuple[str, str, str, str], list[ModelName]] = {}
        for key, (alias, text) in aliases.items():
            if key not in found:
                meant.setdefault(ModelName.parse(text).key, []).append(ModelName.parse(alias))
        return tuple(
            one
            for model in models
            for one in (model, *(_called(model, alias) for alias in meant.get(model.name.key, ())))
        )

    def find(self, name: ModelName) -> StoredModel:
        """The model that a name means, in any spelling.

        Raises:
            ModelNotFound: there is none.
            BrokenManifest: its manifest or config cannot be read.
        """
        try:
            return self._find(name)
        except ModelNotFound:
            alias = self._aliases.get(name.key)
            if alias is None:
                raise
            return _called(self._find(ModelName.parse(alias[1])), ModelName.parse(alias[0]))

    def unchanged(self, name: ModelName) -> StoredModel | None:
        """The own store's model of that name where one `stat` tells that it is what was found before; else None.

        Of all others it takes more to know that no model of that name has come to stand before them.
        """
        return self._own.unchanged(name)

    def _find(self, name: ModelName) -> StoredModel:
        for catalog in (self._own, *self._others):
            try:
                return catalog.find(name)
            except ModelNotFound:
                continue
            except BrokenManifest:
                if catalog is self._own:
                    raise
        found = next((model for model in self._loose.scan() if model.name.key == name.key), None)
        if found is None:
            raise ModelNotFound(name.short)
        return found


def _called(model: StoredModel, alias: ModelName) -> StoredModel:
    return replace(model, name=alias, alias_of=model.name.short)
