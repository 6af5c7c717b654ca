"""Where an output is: a directory, or a directory of HDFS, asked over WebHDFS."""

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request


class Away(Exception):
    """The store does not answer, or not yet with what it has."""


def at(place):
    return WebHdfs(place) if place.startswith("http://") else Local(place)


class Local:
    def __init__(self, root):
        self.root = root

    def paths(self, apart):
        """Every file below, by its path from here, but for what is in folders `apart`; none where there is nothing yet."""
        for folder, folders, names in os.walk(self.root):
            inner = os.path.relpath(folder, self.root)
            if inner == ".":
                folders[:] = [name for name in folders if name not in apart]
            for name in sorted(names):
                yield os.path.normpath(os.path.join(inner, name))

    def read(self, path, known):
        """What tells whether the file was written again, and its bytes; `None` for them if that is `known`."""
        full = os.path.join(self.root, path)
        status = os.stat(full)
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        if state == known:
            return state, None
        with open(full, "rb") as file:
            return state, file.read()


class WebHdfs:
    def __init__(self, url):
        self.url = url

    def paths(self, apart):
        yield from self._below("", apart)

    def _below(self, folder, apart=()):
        try:
            statuses = json.loads(self._get(folder, "LISTSTATUS"))["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return
        for status in statuses:
            path = f"{folder}/{status['pathSuffix']}".lstrip("/")
            if status["type"] != "DIRECTORY":
                yield path
            elif path not in apart:
                yield from self._below(path)

    def read(self, path, known):
        status = json.loads(self._get(path, "GETFILESTATUS"))["FileStatus"]
        state = (status["fileId"], status["length"], status["modificationTime"])
        return state, None if state == known else self._get(path, "OPEN")

    def _get(self, path, operation):
        url = f"{self.url}/{urllib.parse.quote(path)}".rstrip("/") + f"?op={operation}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise FileNotFoundError(path) from error
            raise Away(f"{error}: {error.read().decode(errors='replace')}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Away(str(error)) from error
