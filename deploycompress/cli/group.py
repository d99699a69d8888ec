"""A click group whose first command is understood without being named."""

from __future__ import annotations

import click


class DefaultCommandGroup(click.Group):
    """Hands everything that does not start with a command's name, or with an option of the group, to one command.

    A file named like a command stays reachable: as `./profiles`, or as `compress profiles`.
    """

    def __init__(self, *, default_command: str, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # click's own parameters, passed through
        self.default_command = default_command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front where no command is named."""
        if not args:
            click.echo(self.get_help(ctx), err=True)
            ctx.exit(2)
        if args[0] not in self.commands and args[0] not in self._own_options(ctx):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def _own_options(self, ctx: click.Context) -> set[str]:
        return {name for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)}
