"""A learner's four weeks, in seconds: lessons that pass and fail, late days, an override, reviews, the stage's end, the PDF, the page.

Lessons are stand-ins that say what the test wants them to say; week1/day1 is the real one where it was built.
"""

import datetime
import json
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
import zipfile

from sedum_testing import PATIENCE, SEDUM, SedumTest, environment, json_lines, main

COURSE = pathlib.Path(__file__).resolve().parents[2] / "course"
PLAN = [line.split("\t") for line in (COURSE / "plan.tsv").read_text().splitlines()[1:]]
REAL = "week1/day1/matrix_eigen"
START = datetime.date(2026, 1, 5)
BREAKS = [(datetime.date(2026, 1, 15), datetime.date(2026, 1, 16)), (datetime.date(2026, 2, 15), datetime.date(2026, 2, 22))]

STAND_IN = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in --out) out=$2; shift;; --break) exit 1;; esac; shift; done
echo "课程 {place}"
mkdir -p "$out"
printf '{{"lesson": "{place}", "title": "替身", "quick": true, "seed": 1, "passed": {passed}, "values": {{"threshold": 0.08}}}}' > "$out/result.json"
printf '\\211PNG\\r\\n\\032\\n' > "$out/curves.png"
exit {code}
"""


def days(weeks=12):
    """(name, date) of each day, computed on its own."""
    date, result = START, []
    for week in range(1, weeks + 1):
        for day in range(1, 8):
            while any(a <= date <= b for a, b in BREAKS):
                date += datetime.timedelta(1)
            result.append((f"week{week}/day{day}", date))
            date += datetime.timedelta(1)
    return result


DATES = dict(days())


class CourseTest(SedumTest):
    def setUp(self):
        super().setUp()
        self.log, self.course, self.programs = self.folder / "log", self.folder / "course", self.folder / "programs"
        self.course.mkdir()
        for name in ("plan.tsv", "plan.en.tsv"):
            shutil.copy(COURSE / name, self.course)
        notes = {}
        for week, day, _, task, _, _, link, _, _ in PLAN:
            if link.startswith("docs/"):
                path, anchor = link.split("#")
                notes.setdefault(path, []).append(f"## {anchor}\n\n{task}\n")
            else:
                self.write_lesson(link[len("code/"):-len(".cc")])
        for path, sections in notes.items():
            self.write(self.course / path, "# 笔记\n\n" + "\n".join(sections))
        self.git("init", "-q", self.log)
        self.git("-C", self.log, "config", "user.name", "Li")
        self.git("-C", self.log, "config", "user.email", "li@example.org")

    def git(self, *arguments):
        return subprocess.run(["git", *map(str, arguments)], check=True, capture_output=True, text=True, cwd=self.folder).stdout

    def write_lesson(self, place, passed=True):
        source, binary = self.course / "code" / (place + ".cc"), self.programs / place
        real = pathlib.Path(SEDUM).parent / "course" / place
        source.parent.mkdir(parents=True, exist_ok=True)
        binary.parent.mkdir(parents=True, exist_ok=True)
        if place == REAL and real.exists():
            shutil.copy(COURSE / "code" / (place + ".cc"), source)
            if not binary.exists():
                binary.symlink_to(real)
            return
        source.write_text(f"// {place} {passed}\n")
        binary.write_text(STAND_IN.format(place=place, passed="true" if passed else "false", code=0 if passed else 1))
        binary.chmod(0o755)

    def course_env(self, today):
        return {"SEDUM_COURSE": str(self.course), "SEDUM_COURSE_LOG": str(self.log), "SEDUM_COURSE_BUILD": str(self.folder / "build"),
                "SEDUM_COURSE_PROGRAMS": str(self.programs), "SEDUM_COURSE_TODAY": str(today)}

    def run_course(self, *arguments, today=START, code=0, env=None):
        return self.sedum("course", *arguments, code=code, env={**self.course_env(today), **(env or {})})

    def start(self):
        breaks = [word for a, b in BREAKS for word in ("--break", f"{a}..{b}")]
        return self.run_course("start", START, *breaks)

    def progress(self, today):
        return json.loads(self.run_course("progress", "--json", today=today).stdout)

    def done(self, day, today=None, *more):
        """A lesson taken and checked in."""
        today = today or DATES[day]
        self.run_course("run", day, "--quick", today=today)
        return self.run_course("checkin", day, "--minutes", 90, *more, today=today)

    def entry(self, day):
        return re.search(rf"^- .{{1,4}} {day}\b.*\n(  .*\n)*", (self.log / "log.md").read_text(), re.M).group(0)

    def commits(self):
        """Oldest first: (subject, files)."""
        text = self.git("-C", self.log, "-c", "core.quotepath=off", "log", "--reverse", "--name-only", "--format=%x00%s")
        return [(part.split("\n")[0], set(part.split("\n")[1:]) - {""}) for part in text.split("\0")[1:]]


class FourWeeks(CourseTest):
    def test_four_weeks(self):
        self.start()
        shown = json_lines(self.run_course("list", "--json").stdout)
        self.assertEqual([(d["day"], d["date"]) for d in shown], [(day, str(date)) for day, date in days()])
        self.assertEqual({d["mark"] for d in shown}, {"❌"})
        late = {"week1/day4": DATES["week1/day5"], "week2/day3": DATES["week2/day6"]}
        for day, date in days(4):
            self.on(day, date, late)
        self.check_reviews()
        self.check_commits(late)
        self.check_stage()
        self.check_pdf()

    def on(self, day, date, late):
        """One calendar day of the learner's: late days come with the lesson of the day on which they are made up."""
        week, number = map(int, re.findall(r"\d+", day))
        if day in late:
            return
        if day == "week3/day1":
            self.failing_lesson(day, date)
        if number == 7:
            self.review(week, date)
        if day == "week4/day2":
            self.run_course("checkin", day, "--override", "网络断了，装不了环境", today=date)
        else:
            self.done(day, date, "--problem", f"{day} 的难点", "--solution", "动手算一遍")
        for other in [d for d, made_up in late.items() if made_up == date]:
            self.assertIn("逾期", self.run_course("list", "--week", other[4], today=date).stdout)
            self.assertIn("补卡", self.done(other, date).stdout)
        if number == 7:
            p = self.progress(date)
            self.assertEqual([s["percent"] for s in p["stages"]], [{1: 20, 2: 40, 3: 60, 4: 100}[week], 0, 0])
            self.assertEqual((p["days_done"], p["days_due"], p["overdue"]), (7 * week, 7 * week, 0))

    def failing_lesson(self, day, date):
        self.write_lesson(day + "/decoder_only_demo", passed=False)
        self.assertOneLine(self.run_course("run", day, "--quick", today=date, code=1), "week3/day1/decoder_only_demo failed")
        before = (self.log / "log.md").read_bytes()
        self.assertOneLine(self.run_course("checkin", day, today=date, code=1), "week3/day1 failed in its latest run", "--override")
        self.assertEqual((self.log / "log.md").read_bytes(), before)
        self.write_lesson(day + "/decoder_only_demo")
        self.assertOneLine(self.run_course("checkin", day, today=date, code=1), "failed in its latest run")
        # A run with a planted bug proves nothing either way, and a program that changes after its run has not passed.
        self.run_course("run", day, "--quick", "--break", today=date, code=1)
        self.assertOneLine(self.run_course("checkin", day, today=date, code=1), "failed in its latest run")
        self.run_course("run", day, "--quick", today=date)
        result = self.folder / "build/course/results" / day / "decoder_only_demo/result.json"
        passed = result.read_bytes()
        self.run_course("run", day, "--quick", "--break", today=date, code=1)
        self.assertEqual(result.read_bytes(), passed)
        with open(self.course / "code/week3/day1/decoder_only_demo.cc", "a") as source:
            source.write("// changed\n")
        self.assertOneLine(self.run_course("checkin", day, today=date, code=1), "has changed since it passed")

    def review(self, week, date):
        self.assertOneLine(self.run_course("review", week, today=date - datetime.timedelta(1), code=1), f"week {week} is reviewed on")
        path = self.log / f"week{week}/day7/review.md"
        self.run_course("review", week, today=date)
        path.write_text(path.read_text().replace("## 本周收获\n", f"## 本周收获\n\n第 {week} 周我学会了\n"))
        self.run_course("review", week, today=date)  # written anew around what the learner wrote

    def check_reviews(self):
        text = (self.log / "week2/day7/review.md").read_text()
        self.assertEqual(text.count("第 2 周我学会了"), 1)
        self.assertIn("| week2/day3 | Transformer：论文精读+架构图手绘 | 2026-01-14 | 2026-01-19 | ✅ 补卡 | 90 |", text)
        self.assertIn("- week2/day2：week2/day2 的难点 → 动手算一遍", text)
        self.assertIn("week2/day1/activation_fun（替身）：threshold = 0.08", text)
        self.run_course("review", 4, today=DATES["week4/day7"])
        self.assertIn("✅ 免验：网络断了，装不了环境", (self.log / "week4/day7/review.md").read_text())

    def check_commits(self, late):
        commits = self.commits()
        self.assertEqual(len(commits), 1 + 28)
        self.assertEqual(commits[0][1], {"log.md"})
        seen = set()
        for subject, files in commits[1:]:
            day = subject.split(" ")[0]
            seen.add(day)
            self.assertIn("log.md", files)
            for name in files - {"log.md"}:
                self.assertTrue(name.startswith(day + "/"), (subject, files))
            self.assertEqual("补卡" in subject, day in late)
        self.assertEqual(seen, {day for day, _ in days(4)})
        self.assertIn("week1/day5/sgd_lr_test/result.json", dict(commits)[next(s for s, _ in commits if s.startswith("week1/day5"))])
        # Each commit changes the lines of its own day alone.
        changed = self.git("-C", self.log, "log", "-p", "-U0", "--format=%x00%s", "--", "log.md").split("\0")[1:]
        for part in changed[:-1]:
            touched = set(re.findall(r"^[-+]- \S+ (week\d+/day\d)", part, re.M))
            self.assertEqual(touched, {part.split(" ")[0]})
        for day, made_up in late.items():
            self.assertIn(f"✅ {day} · {made_up} · 补卡 · 90 min", self.entry(day))
        self.assertIn("  - override: 网络断了，装不了环境\n", self.entry("week4/day2"))
        p = self.progress(DATES["week4/day7"])
        self.assertEqual((p["rows_verified"], p["rows_done"], p["late"], p["overridden"]), (27, 28, 2, 1))
        line = self.run_course("progress", today=DATES["week4/day7"]).stdout.splitlines()
        self.assertEqual(line[0], "阶段1：100% · 阶段2：0% · 阶段3：0% · 验证 27/80 行 · 打卡 28/84 天 · 补卡 2 次 · 免验 1 天 · 共 2430 分钟")
        self.assertEqual(pathlib.Path(line[1]).read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def check_stage(self):
        today = DATES["week4/day7"]
        path = self.log / "week4/day7/stage1.md"
        self.assertOneLine(self.run_course("stage", 1, today=today, code=1), "stage1.md", "收获")
        self.assertOneLine(self.run_course("stage", 1, "--gains", "会手算注意力", today=today, code=1), "改进点")
        self.run_course("stage", 1, "--improve", "多做习题", today=today)
        text = path.read_text()
        self.assertRegex(text, r"## 收获\n\n会手算注意力\n")
        self.assertRegex(text, r"## 改进点\n\n多做习题\n")
        self.assertIn("阶段1：100%", text)
        self.run_course("checkin", "week4/day7", today=today)
        self.assertEqual(self.commits()[-1][1], {"week4/day7/review.md", "week4/day7/stage1.md"})
        self.assertIn("nothing had changed", self.run_course("checkin", "week4/day7", today=today).stdout)

    def check_pdf(self):
        self.run_course("export", "--pdf", "table.pdf", "--base-url", "https://example.org/course/", today=DATES["week4/day7"])
        pdf = (self.folder / "table.pdf").read_bytes()
        self.assertTrue(pdf.startswith(b"%PDF-"))
        self.assertIn(b"/FontFile", pdf)  # embedded
        links = re.findall(rb"/URI \(([^)]*)\)", pdf)
        self.assertEqual(len(links), 84)
        self.assertEqual(links[0], b"https://example.org/course/code/week1/day1/matrix_eigen.cc")
        boxes = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
        self.assertGreater(len(boxes), 3)
        for width, height in boxes:
            self.assertEqual((round(float(width)), round(float(height))), (842, 595))  # A4, landscape
        if not shutil.which("pdftotext"):
            return
        text = subprocess.run(["pdftotext", "-layout", self.folder / "table.pdf", "-"], capture_output=True, text=True, check=True).stdout
        for words in ("大模型学习打卡表", "补卡", "免验理由: 网络断了，装不了环境", f"第 {len(boxes)} / {len(boxes)} 页", "阶段1：100%"):
            self.assertIn(words.replace(" ", ""), "".join(text.split()))


class Files(CourseTest):
    def test_the_archive_has_everything_and_its_checksums(self):
        self.start()
        self.done("week1/day2")
        for name in ("a.zip", "b.zip"):
            self.run_course("archive", "--out", name)
        self.assertEqual((self.folder / "a.zip").read_bytes(), (self.folder / "b.zip").read_bytes())
        with zipfile.ZipFile(self.folder / "a.zip") as archive:
            archive.extractall(self.folder / "out")
        for name in ("table.pdf", "plan.tsv", "code/week1/day2/svd_decomposition.cc", "docs/phase1-notes.md", "log/log.md", "log/week1/day2/svd_decomposition/result.json"):
            self.assertTrue((self.folder / "out" / name).is_file(), name)
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=self.folder / "out", check=True)
        self.run_course("archive", "--out", "c.tar.zst")
        self.assertEqual((self.folder / "c.tar.zst").read_bytes()[:4], b"\x28\xb5\x2f\xfd")
        self.assertOneLine(self.run_course("archive", "--out", "c.rar", code=1), "c.rar", ".zip or .tar.zst")

    def test_long_texts_leave_no_page_of_the_table(self):
        self.start()
        text = "W" * 3999
        self.run_course("checkin", "week1/day1", "--override", text, "--problem", text, "--solution", text)
        self.run_course("export", "--pdf", "table.pdf")
        if not shutil.which("pdftotext"):
            self.skipTest("no pdftotext to read the table with")
        boxes = subprocess.run(["pdftotext", "-bbox", "table.pdf", "-"], cwd=self.folder, capture_output=True, text=True, check=True).stdout
        words = re.findall(r'yMax="([\d.]+)">([^<]*)<', boxes)
        self.assertEqual(sum(word.count("W") for _, word in words), 3 * 3999)
        self.assertLess(max(float(bottom) for bottom, _ in words), 595.28 - 16)

    def test_check_finds_a_wrong_digit_and_a_lost_anchor(self):
        note = self.course / "docs/phase1-notes.md"
        self.write(self.course / "results/week1/day5/sgd_lr_test/result.json", {"values": {"threshold": 0.0831}})
        good = note.read_text() + "\n超过 <!--result week1/day5/sgd_lr_test:threshold-->0.083 就发散，[程序](../code/week1/day5/sgd_lr_test.cc)。\n"
        note.write_text(good)
        report = self.sedum_json("course", "check", env=self.course_env(START))
        self.assertEqual((report["rows"], report["links"], report["numbers"], report["problems"], report["open"]), (80, 1, 1, [], []))
        number = re.compile(r"0\.083")
        for wrong in ("0.084", "0.073", "1.083", "0.0830", "0.08", "8.3"):
            note.write_text(number.sub(wrong, good))
            if wrong == "0.08":
                self.run_course("check")  # fewer digits of the same number
                continue
            self.assertOneLine(self.run_course("check", code=1), "phase1-notes.md", f"says {wrong}, but week1/day5/sgd_lr_test:threshold is 0.0831")
        note.write_text(good.replace("## day4-分布期望计算", "## day4-分布的期望计算"))
        self.assertOneLine(self.run_course("check", code=1), "plan.tsv week1/day4", "has no heading for #day4-分布期望计算", "the nearest is #day4-分布的期望计算")
        # The week itself is not written yet: open. It is, and the heading is not there: wrong.
        lost = good.replace("## week3-架构复盘\n", "\n")
        note.write_text(lost + "\n## 第1周 数学\n")
        self.assertIn("week 3 is not in docs/phase1-notes.md yet", self.run_course("check").stdout)
        note.write_text(lost + "\n## 第3周 架构\n")
        self.assertOneLine(self.run_course("check", code=1), "has no heading for #week3-架构复盘")
        note.write_text(good.replace("sgd_lr_test.cc", "sgd.cc"))
        self.assertOneLine(self.run_course("check", code=1), "links ../code/week1/day5/sgd.cc, which does not exist")
        note.write_text(good)
        (self.course / "code/week1/day1/matrix_eigen.cc").unlink()
        self.assertIn("1 open", self.run_course("check").stdout)
        self.assertOneLine(self.run_course("check", "--strict", code=1), "open")

    def test_a_note_without_programs_is_its_own_lesson(self):
        self.start()
        note = self.course / "docs/phase1-notes.md"
        self.assertIn("checked", self.run_course("run", "week1/day3").stdout)
        self.run_course("checkin", "week1/day3", today=DATES["week1/day3"])
        note.write_text(note.read_text().replace("概率论：极大似然估计", "概率论（<!--result week1/day5/sgd_lr_test:threshold-->0.08）"))
        done = self.run_course("run", "week1/day3", code=1)
        self.assertIn("which has no result.json", done.stdout)

    def test_the_courses_own_links_and_numbers_hold(self):
        report = self.sedum_json("course", "check", "--course", COURSE)
        self.assertEqual((report["rows"], report["problems"]), (80, []))

    def test_the_committed_log_and_plan_are_in_order(self):
        shown = json_lines(self.sedum("course", "list", "--json", "--course", COURSE).stdout)
        self.assertEqual(len(shown), 84)
        self.assertEqual({(d["mark"], d["checked_in"]) for d in shown}, {("❌", None)})


class BadInput(CourseTest):
    def test_one_clear_line_and_nothing_lost(self):
        bad = lambda *arguments, today=START, **more: self.run_course(*arguments, today=today, code=1, **more)
        self.assertOneLine(bad("checkin", "week1/day1"), "there is no log in", "sedum course start")
        self.start()
        log = self.log / "log.md"
        before = log.read_bytes()
        self.assertOneLine(bad("checkin", "week13/day1"), 'no day "week13/day1"')
        self.assertOneLine(bad("checkin", "../../etc"), "no day")
        self.assertOneLine(bad("checkin", "week1/day2", "--override", "x"), "week1/day2 is on 2026-01-06, and today is 2026-01-05")
        self.assertOneLine(bad("checkin", "week1/day1"), "week1/day1 has no run yet", "sedum course run week1/day1")
        self.assertOneLine(bad("start", "2026-02-30"), "2026-02-30")
        self.assertOneLine(bad("checkin", "week1/day1", "--override", "x" * 5000), "5000 bytes")
        self.assertOneLine(bad("progress", today="tomorrow"), '"tomorrow" is no date')
        self.assertOneLine(bad("review", "13"), 'no week "13"')
        self.assertOneLine(bad("list", env={"SEDUM_COURSE": str(self.folder / "none")}), "none/plan.tsv")
        self.assertEqual(log.read_bytes(), before)

        # Edited by hand into nonsense: refused with the line, and the file stays as it is.
        log.write_text(log.read_text().replace("- ❌ week1/day3", "- ✅ week1/day3"))
        nonsense = log.read_bytes()
        for command in (("list",), ("checkin", "week1/day1", "--override", "x"), ("progress",), ("export", "--pdf", "x.pdf")):
            self.assertOneLine(bad(*command), "log.md:", "needs its date")
        self.assertEqual(log.read_bytes(), nonsense)
        log.write_bytes(before)

        # Sense, but never committed: it would slip into the day's commit.
        log.write_text(log.read_text().replace("- ❌ week1/day1\n", "- 🔄 week1/day1 · 2026-01-05\n"))
        self.assertOneLine(bad("checkin", "week1/day1", "--override", "x"), "changes that were never committed")
        log.write_bytes(before)

    def test_a_dirty_tree_stays_as_it_is(self):
        self.start()
        for name in ("staged", "edited", "new"):
            (self.log / name).write_text("1")
        self.git("-C", self.log, "add", "edited")
        self.git("-C", self.log, "commit", "-q", "-m", "mine")
        (self.log / "edited").write_text("2")
        self.git("-C", self.log, "add", "staged")
        status = self.git("-C", self.log, "status", "--porcelain")
        self.assertEqual(status, " M edited\nA  staged\n?? new\n")
        self.assertIn("2 other changed files were left as they are", self.done("week1/day2", DATES["week1/day2"]).stdout)
        self.assertEqual(self.git("-C", self.log, "status", "--porcelain"), status)
        self.assertEqual(self.commits()[-1][1], {"log.md", "week1/day2/svd_decomposition/result.json"})

    def test_no_git_no_repository_no_commit(self):
        self.start()
        before = (self.log / "log.md").read_bytes()
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "env").symlink_to(shutil.which("env"))
        arguments = ("checkin", "week1/day1", "--override", "x")
        self.assertOneLine(self.run_course(*arguments, code=1, env={"PATH": str(tools)}), "git is not installed", "--no-commit")
        self.assertEqual((self.log / "log.md").read_bytes(), before)
        hook = self.log / ".git/hooks/pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho not today\nexit 1\n")
        hook.chmod(0o755)
        self.assertOneLine(self.run_course(*arguments, code=1), "git does not commit: not today", "as it was before")
        self.assertEqual((self.log / "log.md").read_bytes(), before)
        self.assertEqual(self.git("-C", self.log, "status", "--porcelain"), "")
        shutil.rmtree(self.log / ".git")
        self.assertOneLine(self.run_course(*arguments, code=1, env={"GIT_CEILING_DIRECTORIES": str(self.folder)}), "is in no git repository", "git init")
        self.run_course(*arguments, "--no-commit", env={"PATH": str(tools)})
        self.assertIn("✅ week1/day1", self.entry("week1/day1"))

    def test_never_dated_back(self):
        self.start()
        self.done("week1/day2", DATES["week1/day6"])
        self.assertOneLine(self.run_course("checkin", "week1/day1", "--override", "x", today=DATES["week1/day3"], code=1),
                           "is before the newest check-in", "never dated back")
        self.assertOneLine(self.run_course("start", "2026-01-01", code=1), "was started on 2026-01-05")


class Page(CourseTest):
    def setUp(self):
        super().setUp()
        self.start()
        self.process = subprocess.Popen([SEDUM, "course", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True,
                                        cwd=self.folder, env=environment(**self.course_env(DATES["week1/day3"])))
        self.addCleanup(self.stop)
        self.address = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline()).group(0)
        self.html = self.request("/")[1].decode()
        self.token = re.search(r'const token = "(\w+)"', self.html).group(1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.process.stdout.close()

    def request(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(urllib.request.Request(self.address + path, data, headers), timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, failure.read()

    def post(self, path, body, **headers):
        return self.request(path, body, **{"X_Sedum_Token": self.token, **headers})

    def state(self):
        return json.loads(self.request("/api/state?lang=en")[1])

    def test_run_check_in_progress(self):
        state = self.state()
        self.assertEqual(state["now"], "week1/day1")
        self.assertEqual([d["overdue"] for d in state["days"][:4]], [True, True, False, False])
        status, stream = self.post("/api/run", {"day": "week1/day2", "quick": True})
        events = re.findall(r"event: (\w+)\ndata: (.*)\n\n", stream.decode())
        self.assertEqual(status, 200)
        self.assertIn("课程 week1/day2/svd_decomposition", "".join(json.loads(data)["text"] for kind, data in events if kind == "output"))
        end = json.loads(events[-1][1])
        self.assertTrue(end["passed"])
        self.assertTrue(self.request(end["pictures"][0]["url"])[1].startswith(b"\x89PNG"))
        status, answer = self.post("/api/checkin", {"day": "week1/day2", "status": "done", "minutes": 80, "problem": "p"})
        self.assertEqual(status, 200, answer)
        after = self.state()
        self.assertEqual((state["stages"][0]["percent"], after["stages"][0]["percent"]), (0, 3))
        self.assertTrue(after["days"][1]["late"])
        self.assertEqual(self.commits()[-1][0].split(" ")[0], "week1/day2")
        self.assertEqual(json.loads(answer)["commit"], self.git("-C", self.log, "rev-parse", "--short", "HEAD").strip())
        lesson = json.loads(self.request("/api/lesson?day=week1/day3&lang=zh")[1])
        self.assertIn("<h2>day3-极大似然vs贝叶斯</h2>", lesson["note"])
        self.assertTrue(self.request("/progress.png?lang=zh")[1].startswith(b"\x89PNG"))

    def test_a_failure_is_told(self):
        self.write_lesson("week1/day2/svd_decomposition", passed=False)
        _, stream = self.post("/api/run", {"day": "week1/day2"})
        end = json.loads(re.findall(r"event: end\ndata: (.*)\n\n", stream.decode())[0])
        self.assertEqual((end["passed"], end["exit_code"]), (False, 1))
        for body, words in (({"day": "week1/day2", "status": "done"}, "failed in its latest run"), ({"day": "week9/day1", "status": "done"}, "is on 2026-"),
                            ({"day": "week99/day1", "status": "done"}, "no day"), ({"day": "week1/day1", "status": "finished"}, "status"),
                            ({"day": "week1/day1", "status": "done", "minutes": -1}, "minutes"), ([], "JSON object")):
            status, answer = self.post("/api/checkin", body)
            self.assertEqual(status, 400)
            self.assertIn(words, json.loads(answer)["error"])
        self.assertEqual(len(self.commits()), 1)

    def test_other_sites_and_other_files_are_out_of_reach(self):
        body = {"day": "week1/day1", "status": "done", "override": "x"}
        for path in ("/api/checkin", "/api/run"):
            self.assertEqual(self.request(path, body)[0], 403)
            self.assertEqual(self.post(path, body, X_Sedum_Token="0" * 64)[0], 403)
            self.assertEqual(self.post(path, body, Origin="https://evil.example")[0], 403)
            self.assertEqual(self.post(path, body, Host="evil.example")[0], 403)
        for path in ("/", "/api/state", "/progress.png"):
            self.assertEqual(self.request(path, Host="evil.example:80")[0], 403)
        self.assertEqual(len(self.commits()), 1)
        (self.course / "docs/link.md").symlink_to("/etc/passwd")
        (self.course / "docs/secret").write_text("x")
        for path in ("../log/log.md", "/etc/passwd", "docs/../../log/log.md", "docs/link.md", "docs/secret", "plan.tsv", "docs", "", "docs/%00", "..%2f..%2fetc/passwd"):
            status, answer = self.request("/file?path=" + path)
            self.assertEqual(status, 404, (path, answer))
        self.assertEqual(self.request("/file?path=docs/phase1-notes.md")[0], 200)
        for name in ("../run.json", "x", "svd_decomposition/../../run.json"):
            self.assertEqual(self.request(f"/picture?day=week1/day2&name={name}")[0], 404)


if __name__ == "__main__":
    main()
