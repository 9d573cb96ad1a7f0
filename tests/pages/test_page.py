"""Pages load nothing, can be read by keyboard and screen reader, and are made of whatever a study has."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from regsearch.pages import Paragraph, Section, StudyRecord, Table, page, study_page
from regsearch.pages.palette import DARK, LIGHT, PAPERS, TEXTS, contrast
from tests.pages.records import RECORDS, assert_can_be_read, assert_loads_nothing, other, read, record, trials

MARKS = ("winner", "baseline", "set0", "set1", "set2", "set3", "set4", "set5", "rank0", "rank1", "rank2", "quiet")


@pytest.fixture(params=list(RECORDS))
def made(request: pytest.FixtureRequest) -> StudyRecord:
    found: StudyRecord = RECORDS[request.param]()
    return found


def test_the_page_is_sound(made: StudyRecord) -> None:
    text = study_page(made)
    root = read(text)
    assert_loads_nothing(text, root)
    assert_can_be_read(root)
    assert made.sentence in root.words()
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", root.words().lower())
    assert not re.search(r"(?:nan|inf)\b", " ".join(re.findall(r'd="[^"]*"|[xy]\d?="[^"]*"', text)))
    assert len(text.encode()) < 1_000_000


def test_the_answer_comes_first() -> None:
    root = read(study_page(record()))
    assert [each.words() for each in root.every("h2")][:3] == [
        "Answer",
        "What to be careful about",
        "Intervals of the finals",
    ]
    assert "over 44 trials, in epoch 3 (PED-ANOVA)" in root.words()


def test_what_users_name_is_text() -> None:
    evil = "<script>alert('1')</script>\"&amp;"
    names = {"name": evil, "sentence": evil, "trials": trials(label=evil), "study_file": evil, "loss_words": evil}
    base = record().summary
    assert base is not None
    summary = replace(base, winner=replace(base.winner, label=evil), others=(replace(other(), role=evil),))
    openings = [{"study": evil, "time": evil, "purpose": evil, "decision": {evil: evil}}]
    text = study_page(record(**names, summary=summary, openings=openings, data={evil: evil}, importance=None))
    root = read(text)
    assert not root.every("script")
    assert evil in root.every("h1")[0].words()
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out(colours: dict[str, str]) -> None:
    for paper in PAPERS:
        assert {
            name: round(contrast(colours[name], colours[paper]), 2)
            for name in TEXTS
            if contrast(colours[name], colours[paper]) < 4.5
        } == {}
    assert [name for name in MARKS if contrast(colours[name], colours["paper"]) < 3] == []
    assert LIGHT.keys() == DARK.keys()


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_what_to_be_careful_about() -> None:
    def said(made: StudyRecord) -> str:
        section = next(each for each in read(study_page(made)).every("section") if each.attributes["id"] == "care")
        return " ".join(section.words().split())

    assert "Test opened twice" in said(record())
    assert "1 trial of 60 failed: trial 30 diverged in epoch 3." in said(record())
    assert "few" in said(RECORDS["regression"]()) and "90 rows" in said(RECORDS["regression"]())
    assert "No finals were held" in said(RECORDS["without finals"]())
    assert "has not ended" in said(RECORDS["not ended"]())
    assert "60 of 60 failed" in said(RECORDS["all failed"]()).replace("trials of", "of")
    calm = record(opened=1, trials=trials().query("state != 'FAIL'"))
    assert "Nothing out of the ordinary" in said(calm)


def test_every_mark_says_which_trial_it_is() -> None:
    root = read(study_page(record()))
    figure = next(each for each in root.every("figure") if each.attributes["id"] == "gap-against-loss")
    tips = [each.words() for each in figure.every("svg")[0].every("title")[1:]]
    assert len(tips) == 59 and {int(re.findall(r"\d+", tip)[0]) for tip in tips} == set(range(60)) - {30}


def test_a_page_of_ones_own() -> None:
    table = Table("Ranks", ("", "rank"), [("dropout", "1.5")])
    root = read(page("Comparison", [Section("one", "One", [Paragraph("text"), table]), Section("none", "None")]))
    _can_be_read_without_sections = root.every("nav")
    assert not _can_be_read_without_sections and len(root.every("section")) == 1
    with pytest.raises(ValueError, match="twice there are one"):
        page("Twins", [Section("one", "One", [table]), Section("one", "Two", [table])])
    with pytest.raises(ValueError, match="needs 2 cells"):
        Table("Ragged", ("", "rank"), [("dropout",)])


def test_a_thousand_trials_take_no_time() -> None:
    made = record(1000)
    study_page(record())
    start = time.process_time()
    study_page(made)
    assert time.process_time() - start < 2
