"""The sub-commands of `runs.py` and their flags, apart from what they do, so that the help is made at once."""

from pathlib import Path

from dlib.config.script_parser import ScriptParser, add_flag, add_switch, make_commands

A_RUN = "A run's name, or the path of its folder."
CONDITIONS = (
    "Only runs like state=finished, name='bert-*', 'step>=1000', 'loss<3', 'age>30d' or 'size>1GB', or by an argument "
    "or metric, 'learning_rate>1e-3', objective=mlm,clm, 'dev/accuracy>0.5'; given several times, all must hold."
)


def make_parser() -> ScriptParser:
    """The parser of all sub-commands; the name of the one that was given is in `command`."""
    parser, add = make_commands("runs.py", "Work with the runs that train.py left.")
    _declare_looking(add("list", "List the runs: state, step, dev loss of the best checkpoint, age, size."))
    command = add("show", "Show a run: arguments that are no defaults, record, curves, checkpoints, evals.")
    add_flag(command, "run", A_RUN, "RUN")
    add_switch(command, "--json", "Print one JSON object.")
    command = add("compare", "Show results and differing arguments of runs side by side.")
    _declare_choice(command)
    text = (
        "One line for the runs that differ in their seed only, the best first, with the command of the best run; so "
        "are runs shown that filters choose and that are all of one sweep."
    )
    add_switch(command, "--mean", text)
    text = "Write the points of --mean: a table as .csv, the metric over each argument as .pdf, .svg, .png; also both."
    add_flag(command, ("-o", "--output"), text, "FILE", type=Path, action="append", default=[])
    add_switch(command, "--json", "Print one JSON object; of points one a line.")
    command = add("diff", "Show in what two runs differ, line by line: arguments, code, packages, hardware, data.")
    add_flag(command, "old", A_RUN, "A")
    add_flag(command, "new", "Another.", "B")
    _declare_plot(add("plot", "Plot the curves of runs, in the terminal or into a file."))
    _declare_report(add("report", "Write one page that opens anywhere: table, curves, effects of arguments, samples."))
    text = "Write a checkpoint as a Hugging Face folder with a model card, or a whole run, to a folder or archive."
    _declare_export(add("export", text))
    command = add("import", "Put a run that export --full wrote into the workspace, once all of it has been checked.")
    add_flag(command, "source", "The folder or archive; here or at an address of fsspec.", "SOURCE")
    add_flag(command, ("-n", "--name"), "Name of the run here (default: as it was).", "NAME")
    command = add("drop", "Move runs to the workspace's trash; --purge empties it.")
    _declare_choice(command)
    add_switch(command, "--purge", "Then remove all that is in the trash, for good.")
    add_switch(command, "--yes", "Do not ask.")
    _declare_checkpoints(add("checkpoints", "List the checkpoints of runs, or remove some for good."))
    text = "Repeat a run from its record, and compare the numbers: identical, or the first that differs."
    _declare_reproduce(add("reproduce", text))
    return parser


def _words(text: str) -> list[str]:
    """What commas stand between."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _declare_choice(parser: ScriptParser) -> None:
    """Runs by name, by filters, or both."""
    # Not nargs="*", which argparse takes for empty where a flag comes first.
    runs = parser.add_argument("runs", metavar="RUN", help=A_RUN, nargs="+", default=[])
    runs.required = False
    _declare_filter(parser)


def _declare_filter(parser: ScriptParser) -> None:
    add_flag(parser, "--filter", CONDITIONS, "CONDITION", action="append", default=[])


def _declare_looking(parser: ScriptParser) -> None:
    _declare_filter(parser)
    text = (
        "What is first: age (the newest; default), step (the furthest), size (the largest), loss (the lowest in dev "
        "loss), best (by the metric that says which checkpoint is the best), name, state; an argument or a metric: the "
        "lowest."
    )
    add_flag(parser, "--sort", text, "WORD", default="age")
    text = (
        "More columns, with blanks or commas between them: arguments (learning_rate), metrics (accuracy: of the best "
        "checkpoint, else the newest), best, commit (with + where the code had uncommitted changes). What --sort and "
        "--filter are about has one, too."
    )
    add_flag(parser, "--columns", text, "WORD", type=_words, default=[], nargs="+", action="extend")
    add_switch(parser, "--reverse", "The other way round.")
    text = (
        "One line for the runs that differ in their seed only: mean and standard deviation of the dev loss and of the "
        "metrics among --columns, each with the number of runs."
    )
    add_switch(parser, "--mean", text)
    add_switch(parser, "--json", "Print a JSON object a run, one a line.")


def _declare_plot(parser: ScriptParser) -> None:
    _declare_choice(parser)
    add_flag(
        parser, ("-o", "--output"), "Draw with matplotlib: curves.pdf, .svg, .png and the like.", "FILE", type=Path
    )
    _declare_curves(parser, "train/loss and dev/loss")
    add_switch(parser, "--log", "A logarithmic vertical axis.")


def _declare_curves(parser: ScriptParser, metrics: str) -> None:
    """Which curves, over what; `metrics` says which without a word."""
    text = f"A quantity of metrics.jsonl or performance.jsonl; may be given several times (default: {metrics})."
    add_flag(parser, "--metric", text, "NAME", action="append", default=[])
    parser.add_argument(
        "--x", choices=("step", "tokens", "hours"), default="step", help="The horizontal axis (default: step)."
    )


def _declare_report(parser: ScriptParser) -> None:
    _declare_choice(parser)
    text = "The file (default: report.html)."
    add_flag(parser, ("-o", "--output"), text, "FILE", type=Path, default=Path("report.html"))
    _declare_curves(parser, "the training loss, and all that evaluations and callbacks of your own recorded")
    text = "Show at most so many of the texts that an evaluation wrote (default: 10)."
    add_flag(parser, "--samples", text, "N", type=int, default=10)


def _declare_export(parser: ScriptParser) -> None:
    add_flag(parser, "run", A_RUN, "RUN")
    text = (
        "A new folder, or a file that ends in .tar, .tar.gz or .tgz; here or at an address that fsspec knows, such as "
        "s3://bucket/run.tar. With --filter, in place of RUN: a folder that gets one for each run, by its name, or a "
        "pattern such as 'models/{name}.tar'."
    )
    destination = parser.add_argument("destination", metavar="DESTINATION", help=text)
    destination.required = False  # with --filter the one word is it
    _declare_filter(parser)
    add_flag(parser, "--checkpoint", "best, last or an optimizer step (default: best, or last without one).", "STEP")
    add_switch(parser, "--full", "The whole run, which import takes, not a model alone.")


def _declare_checkpoints(parser: ScriptParser) -> None:
    _declare_choice(parser)
    group = parser.add_mutually_exclusive_group()
    add_flag(group, "--delete", "Remove these; not the best or the last.", "STEP", type=int, nargs="+")
    text = "Remove all but these; the best and the last stay in any case."
    add_flag(group, "--keep", text, "STEP", type=int, nargs="+")
    add_flag(group, "--keep_newest", "Remove all but the newest N, the best and the last.", "N", type=int)
    add_switch(parser, "--yes", "Do not ask.")


def _declare_reproduce(parser: ScriptParser) -> None:
    add_flag(parser, "run", A_RUN, "RUN")
    add_flag(parser, "--steps", "Compare up to the first recorded step from N on (default: all).", "N", type=int)
    add_flag(parser, ("-d", "--data_dir"), "Folder of the texts (default: as recorded).", "FOLDER", type=Path)
    text = "Run the code that stands here in place of the recorded: did my change keep the numbers?"
    add_switch(parser, "--present_code", text)
    add_flag(parser, "--keep", "Keep the repetition's run folder under this one.", "FOLDER", type=Path)
    add_switch(parser, "--trust_remote_code", "Run Python code that the model's folder brings, as the run did.")
