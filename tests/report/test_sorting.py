"""Tables that can be sorted: as numbers where they are, what is missing last; complete without a script."""

from prunelle.report.cells import Cell, number_cell
from prunelle.report.plain import plain_page
from prunelle.report.sorting import sortable
from prunelle.report.tables import Column, Table


def test_cells_carry_what_to_sort_by():
    table = Table(
        [Column("A"), Column("B", "what <it> is", numeric=False)], [[number_cell(0.5, str), Cell("<x>")]], ["dense"]
    )
    assert sortable(table, "rows") == (
        '<div class="scroll" tabindex="0" role="region" aria-label="rows table"><table id="rows" class="sortable">'
        '<thead><tr><th scope="col" class="num" aria-sort="none"><button type="button">A</button></th>'
        '<th scope="col" title="what &lt;it&gt; is" aria-sort="none"><button type="button">B</button></th></tr></thead>'
        '<tbody><tr class=dense><td class=num data-sort="0.5">0.5</td><td>&lt;x&gt;</td></tr>\n</tbody></table></div>'
    )


def test_what_is_missing_sorts_last():
    table = Table([Column("A")], [[number_cell(None, str)]], [""])
    assert '<td class=num data-sort="">–</td>' in sortable(table, "t")


def test_a_page_admits_its_script_by_hash_and_no_other():
    bare, scripted = (plain_page("t", "b", "s", "", "", script=script) for script in ("", "let a = 1;"))
    assert "script" not in bare
    # base64 of the SHA-256 of "let a = 1;", from `openssl dgst -sha256 -binary | base64`.
    assert "script-src 'sha256-xY6QKfH9PRsQnLz56nj6MBwiK5oHg+im1Jkpdp1x/Ck=';" in scripted
    assert scripted.count("<script>") == 1 and "unsafe-inline' 'sha" not in scripted
