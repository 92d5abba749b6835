"""word_count finds what tr, sort and uniq -c find, on any bytes."""
import os
import pathlib
import random
import subprocess
import unittest

from support import SOURCE, Case, run


def reference(files):
    """`cat FILES | tr -s '[:space:]' '\\n' | sort | uniq -c`, in the order of word_count. Files end where they end: a word
    does not go on in the next one."""
    joined = b"\n".join(pathlib.Path(f).read_bytes() for f in files)
    pipe = "tr -s '[:space:]' '\\n' | sort | uniq -c"
    counted = subprocess.run(pipe, shell=True, input=joined, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    rows = []
    for line in counted.split(b"\n"):
        if line:
            count, word = line.lstrip(b" ").split(b" ", 1)
            if word:
                rows.append((-int(count), word))
    return b"".join(word + b"\t" + str(-n).encode() + b"\n" for n, word in sorted(rows))


class WordCount(Case):
    def check(self, *files, flags=()):
        result = self.good(run("run", "word_count", *flags, "--", *files))
        self.assertEqual(result.out, reference(files))

    def test_text(self):
        self.check(os.path.join(SOURCE, "apps/examples/word_count/README.md"))

    def test_an_empty_file_and_a_file_of_white_space(self):
        self.check(self.write("empty", b""))
        self.check(self.write("blank", b" \n\t\r\n\v\f \n"))

    def test_every_kind_of_white_space_and_line_end(self):
        self.check(self.write("odd", b" a b\tb\r\na\vb\fc\n\n\nlast"))
        self.check(self.write("crlf", b"a\r\nb\r\n\r\na\r"))

    def test_binary_files(self):
        seed = int(os.environ.get("HYDROGEN_SEED", random.randrange(1 << 30)))
        print(f"HYDROGEN_SEED={seed}")
        source = random.Random(seed)
        self.check(self.write("bytes", source.randbytes(300_000)))
        self.check(self.write("few", bytes(source.choice(b"ab\0\n \xff") for _ in range(100_000))))

    def test_several_files_on_several_nodes(self):
        source = random.Random(5)
        files = [self.write("empty", b""), self.write("a", " ".join(str(source.randrange(3000)) for _ in range(60_000))),
                 self.write("b", source.randbytes(50_000)), self.write("one word", b"word")]
        self.check(*files)
        self.check(*files, flags=["--nodes", "2", "--slots", "2"])

    def test_a_long_word_and_a_long_line(self):
        self.check(self.write("long", b"x" * 3_000_000 + b"\n" + b"y z " * 500_000))

    def test_top_is_the_beginning_of_all(self):
        source = random.Random(6)
        file = self.write("a", " ".join(str(source.randrange(2000)) for _ in range(20_000)))
        whole = self.good(run("run", "word_count", "--", file)).out.splitlines(True)
        for n in (1, 10, 1999, 5000):
            top = self.good(run("run", "word_count", "--", file, "--top", n)).out.splitlines(True)
            self.assertEqual(top, whole[:n])


if __name__ == "__main__":
    unittest.main()
