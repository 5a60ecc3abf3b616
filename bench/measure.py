"""What the benchmarks share: their options, children in turn, medians, and a report that says where it was measured.

    parser = argparse.ArgumentParser(description=__doc__)
    session = measure.Session("Products", measure.parse(parser, minutes=10, rounds=3))
    children = session.interleave([Run("ours", [...]), Run("theirs", [...])])      # A B A B …
    session.finish([Table("", ["what", "ours", "ratio"], [[…]])])

Both sides run as child processes, so that peak memory is the child's own and neither side's threads or caches live on beside
the other. Each prints JSON lines. This process stays small and imports the standard library alone: on Linux a child's peak
includes the memory of the process it was forked from.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "bench" / "peers"
DISTURBED = 0.1  # share of the processor that others had while it ran, from which on no claim is made
QUIET = 0.7  # load average up to which figures are worth something: two cores, less than one of them busy
PACKAGES = ["torch", "transformers", "peft", "llama-cpp-python"]


def parse(parser, minutes, rounds):
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--sedum", default=str(ROOT / "build" / "release" / "bin" / "sedum"), help="the program")
    parser.add_argument("--peers", default=sys.executable, help="the folder made by bench/peers.sh; default: this Python")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of either side; default: all cores")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"each measures both sides once; default: {rounds}")
    parser.add_argument("--minutes", type=float, default=minutes, help=f"longest running time; default: {minutes}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that all runs")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    parser.add_argument("--out", type=pathlib.Path, help="a Markdown file for the report")
    parser.add_argument("--wait", type=float, default=0, metavar="MINUTES", help="at most so long for a busy machine to become quiet")
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine; the report says so")
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    if args.threads < 1 or args.rounds < 1 or args.minutes <= 0:
        parser.error("--threads, --rounds and --minutes are above 0")
    peers = pathlib.Path(args.peers)
    args.python = str(peers / "bin" / "python") if peers.is_dir() else args.peers
    for program, mend in ((args.sedum, "build it, or give --sedum"), (args.python, "make it by bench/peers.sh FOLDER")):
        if not shutil.which(program):
            parser.error(f"{program} cannot be run: {mend}")
    return args


def add_precision(parser):
    """--precision bf16|f32. Without instructions for bf16 PyTorch needs minutes for a product of it: there both sides compute in f32."""
    flags = pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    native = "bf16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "f32"
    parser.add_argument("--precision", choices=["bf16", "f32"], default=native, help="of both sides; default: bf16 where the processor has it")


@dataclasses.dataclass
class Run:
    """One side's measurement, as a command that prints JSON lines."""

    name: str
    command: list


@dataclasses.dataclass
class Child:
    lines: list
    peak_mib: float
    seconds: float

    def __getitem__(self, key):
        return self.lines[-1][key]


@dataclasses.dataclass
class Table:
    title: str
    header: list
    rows: list  # numbers are shown with three digits, None as a dash

    def markdown(self):
        numeric = [any(isinstance(r[i], (int, float)) for r in self.rows) for i in range(len(self.header))]
        lines = [self.header, ["---:" if n else "---" for n in numeric]] + [[shown(c) for c in r] for r in self.rows]
        return (f"### {self.title}\n\n" if self.title else "") + "\n".join("| " + " | ".join(line) + " |" for line in lines)


class Failed(Exception):
    pass


class Session:
    def __init__(self, title, args):
        self.title, self.args, self.notes, self.commands, self.raw = title, args, [], [], {}
        patience = time.monotonic() + 60 * args.wait
        while os.getloadavg()[0] > QUIET and time.monotonic() < patience:
            time.sleep(5)
        self.load = os.getloadavg()
        self.busy = self.load[0] > QUIET
        if self.busy and not args.anyway:
            sys.exit(
                f"the load average is {self.load[0]:.2f}, above {QUIET}: figures taken now would say nothing. Wait until the "
                "machine is quiet (--wait MINUTES), or give --anyway"
            )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a child does not go on alone
        self.started, self.deadline = time.monotonic(), time.monotonic() + 60 * args.minutes
        self.processor = processor_times()
        self.environment = dict(
            os.environ, OMP_NUM_THREADS=str(args.threads), HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false"
        )
        self.say(f"{title}: at most {args.minutes:g} minutes, {args.rounds} round(s), load average {self.load[0]:.2f}")
        self.program = os.stat(shutil.which(args.sedum)).st_mtime_ns
        try:
            self.machine = self.describe_machine()
        except (Failed, TimeoutError) as failure:
            sys.exit(f"the machine cannot be described: {str(failure) or 'time was over'}")

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def child(self, command):
        """Runs it to its end, or to the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            begin = time.monotonic()
            try:
                process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=self.environment)
            except OSError as error:
                raise Failed(str(error)) from None
            timer = threading.Timer(left, os.kill, (process.pid, signal.SIGKILL))  # not process.kill: it may reap the child itself
            timer.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begin
            out.seek(0), err.seek(0)
            if process.returncode:
                if time.monotonic() >= self.deadline:
                    raise TimeoutError
                raise Failed("; ".join(err.read().decode(errors="replace").strip().splitlines()[-2:]) or "no message")
            lines = [json.loads(line) for line in out.read().splitlines() if line.startswith(b"{")]
        if not lines:
            raise Failed("it printed no JSON")
        return Child(lines, usage.ru_maxrss / 1024, seconds)

    def interleave(self, runs):
        """All runs once a round, in turn. Name -> a Child for each round, None where it failed; fewer when time was up."""
        done = {run.name: [] for run in runs}
        self.commands += [run.command for run in runs]
        longest = 0
        for number in range(self.args.rounds):
            begin = time.monotonic()
            if number and begin + 1.05 * longest > self.deadline:
                self.note(f"{number} of {self.args.rounds} rounds: another would not have fitted into {self.args.minutes:g} minutes")
                break
            for i, run in enumerate(runs):
                result = None
                try:
                    if all(done[run.name]):  # what failed once is not tried again
                        result = self.child(run.command)
                        self.say(f"round {number + 1}, {run.name}: {result.seconds:.1f} s")
                except TimeoutError:
                    missing = f"{len(runs) - i} of its {len(runs)} measurements are missing"
                    self.note(f"{self.args.minutes:g} minutes were over in round {number + 1} at `{run.name}`: {missing}")
                    return self.keep(done)
                except Failed as failure:
                    self.note(f"`{run.name}` failed: {failure}")
                done[run.name].append(result)
            longest = max(longest, time.monotonic() - begin)
        return self.keep(done)

    def keep(self, done):
        self.raw.update({name: [dataclasses.asdict(c) for c in children if c] for name, children in done.items()})
        return done

    def note(self, text):
        self.notes.append(self.without_paths(text))
        self.say(text)

    def describe_machine(self):
        info = self.child([self.args.sedum, "info", "--json", "--threads", str(self.args.threads)]).lines[-1]
        cpu = dict(line.split(":", 1) for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
        cpu = {key.strip(): value.strip() for key, value in cpu.items()}
        versions = self.child(
            [self.args.python, "-c", "import importlib.metadata as m, json, platform, sys\n"
             "def of(name):\n"
             "  try: return m.version(name)\n"
             "  except m.PackageNotFoundError: return None\n"
             "print(json.dumps({'python': platform.python_version(), **{n: of(n) for n in sys.argv[1:]}}))", *PACKAGES]
        ).lines[-1]  # fmt: skip
        return {
            "processor": f"{cpu.get('model name', platform.machine())} (family {cpu.get('cpu family')}, model {cpu.get('model')})",
            "cores": os.cpu_count(),
            "threads": self.args.threads,
            "kernel": platform.release(),
            **info,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": {"sedum": self.output([self.args.sedum, "--version"]).removeprefix("sedum "), **versions},
            "source": self.output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
            "load_average": self.load,
        }

    def output(self, command):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return "unknown"

    def finish(self, tables):
        """Prints the report; writes it where --out says."""
        busy, stolen = (after - before for before, after in zip(self.processor, processor_times()))
        available = (time.monotonic() - self.started) * os.cpu_count()
        self.machine["others_share"], self.machine["stolen_share"] = max(0, busy / available), max(0, stolen / available)
        self.disturbed = self.machine["others_share"] + self.machine["stolen_share"] > DISTURBED
        if os.stat(shutil.which(self.args.sedum)).st_mtime_ns != self.program:
            self.note("the program was built anew while this ran: figures of two programs are mixed")
        self.machine["minutes"] = (time.monotonic() - self.started) / 60
        report = self.markdown(tables)
        if self.args.out:
            self.args.out.parent.mkdir(parents=True, exist_ok=True)
            beside = self.args.out.with_name(self.args.out.name + ".part")
            beside.write_text(report, encoding="utf-8")
            beside.replace(self.args.out)
        if self.args.json:
            print(json.dumps({
                "title": self.title, "machine": self.machine, "claim": not (self.busy or self.disturbed or self.args.quick),
                "tables": [dataclasses.asdict(t) for t in tables], "notes": self.notes, "measurements": self.raw,
            }))  # fmt: skip
        else:
            print(report)

    def markdown(self, tables):
        m = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items() if version)
        parts = [f"# {self.title}"]
        if self.args.quick:
            parts.append("**A trial with tiny sizes: it shows that everything runs, and nothing else.**")
        if self.busy:
            parts.append(f"**Taken on a busy machine (load average {self.load[0]:.2f} at the start): no claim rests on these figures.**")
        elif self.disturbed:
            parts.append("**Disturbed while it ran (see below): no claim rests on these figures.**")
        parts.append(
            f"{m['date']}, {m['minutes']:.0f} minutes. {m['processor']}, {m['cores']} cores, threads used: {m['threads']}, "
            f"{m['memory_bytes'] / 2**30:.0f} GiB, Linux {m['kernel']}. Instruction set {m['instruction_set']}; peak, measured: f32 "
            f"{m['peak_f32_flops'] / 1e9:.0f}, bf16 {m['peak_bf16_flops'] / 1e9:.0f} GFLOP/s, int8 {m['peak_int8_ops'] / 1e9:.0f} GOP/s; "
            f"reading memory {m['read_bytes_per_second'] / 1e9:.1f} GB/s. Versions: {versions}; source {m['source']}. Load average at the "
            f"start {' '.join(f'{x:.2f}' for x in self.load)}; while it ran, other processes and the kernel took "
            f"{100 * m['others_share']:.0f} % of the processor, the hypervisor {100 * m['stolen_share']:.0f} %."
        )
        parts += [table.markdown() for table in tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        commands = [[sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]] + self.commands
        listing = "\n".join(self.without_paths(shlex.join(command)) for command in commands)
        parts.append(f"Commands, in the order of a round:\n\n```\n{listing}\n```")
        return "\n\n".join(parts) + "\n"

    def without_paths(self, text):
        """A report is read elsewhere: programs and files by their names."""
        for path, name in ((self.args.sedum, "sedum"), (self.args.python, "python"), (sys.executable, "python"), (f"{ROOT}/", "")):
            text = text.replace(str(path), name)
        words = []
        for word in text.split(" "):
            key, equals, value = word.rpartition("=")
            words.append(key + equals + os.path.basename(value) if value.startswith("/") and len(value) > 1 else word)
        return " ".join(words)


def processor_times():
    """Seconds that others have had: busy without us and our children; taken by the hypervisor."""
    user, nice, system, _, _, irq, softirq, stolen = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    ticks, ours = os.sysconf("SC_CLK_TCK"), os.times()
    return (user + nice + system + irq + softirq) / ticks - sum(ours[:4]), stolen / ticks


def shown(cell):
    if cell is None:
        return "–"
    if not isinstance(cell, (int, float)):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 or isinstance(cell, int) else f"{cell:.3g}"


def percent(share):
    return None if share is None else f"{100 * share:.0f} %"


def median(children, value):
    """Of value(child), over the rounds; None when there is none."""
    values = [value(child) for child in children if child]
    return statistics.median(values) if values else None


def ratio(ours, theirs, value):
    """Median of the rounds' own ratios: what slowed a whole round down cancels."""
    pairs = [value(a) / value(b) for a, b in zip(ours, theirs) if a and b]
    return statistics.median(pairs) if pairs else None


def times(x):
    return None if x is None else f"{x:.2f} ×"
