"""Pages: one self-contained HTML file for a study or a comparison, and the pieces that such pages are made of.

`page(title, sections)` renders sections of paragraphs, tables and pictures; `study_page(record)` makes a study's page,
`comparison_page(found)` that of a comparison.
"""

from regsearch.pages.comparison import comparison_page
from regsearch.pages.page import page
from regsearch.pages.parts import Claim, Code, Lines, Paragraph, Part, Picture, Section, Table
from regsearch.pages.record import StudyRecord
from regsearch.pages.study import study_page

__all__ = [
    "Claim",
    "Code",
    "Lines",
    "Paragraph",
    "Part",
    "Picture",
    "Section",
    "StudyRecord",
    "Table",
    "comparison_page",
    "page",
    "study_page",
]
