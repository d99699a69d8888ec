"""Boards on loopback for the tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from tests.measuring.reach.sshd import Account, SshServer, device_account, free_folder


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile(Path(__file__).parents[3] / "profiles" / "x86.toml")


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    folder = free_folder()
    yield device_account(folder)
    shutil.rmtree(folder)


@pytest.fixture
def new_board(account: Account) -> Iterator[Callable[[], SshServer]]:
    """Give a function that starts one more board."""
    boards: list[SshServer] = []

    def start() -> SshServer:
        boards.append(SshServer(account, free_folder()))
        return boards[-1]

    yield start
    for board in boards:
        board.kill()
        shutil.rmtree(board.folder)


@pytest.fixture
def board(new_board: Callable[[], SshServer]) -> SshServer:
    return new_board()
