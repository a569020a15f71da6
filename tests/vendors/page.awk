# The CSV of tests/vendors.sh as one self-contained page: a table that sorts by a click on a heading and filters by words.
function escape(text) {
  gsub(/&/, "\\&amp;", text)
  gsub(/</, "\\&lt;", text)
  return text
}
BEGIN {
  print "<!doctype html><meta charset=utf-8><title>vkattn: pipelines by vendors' compilers</title><style>"
  print "body{font:14px system-ui,sans-serif;margin:2em;color:#222;background:#fff}table{border-collapse:collapse}"
  print "th,td{padding:2px 8px;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}th{cursor:pointer;position:sticky;top:0;background:#fff}"
  print "td:nth-child(-n+3),td:nth-child(6),td:nth-child(7),td:last-child{text-align:left}.over{background:#fbb}"
  print "@media(prefers-color-scheme:dark){body,th{background:#181818;color:#ddd}th,td{border-color:#444}.over{background:#722}}</style>"
  print "<h1>Pipelines by vendors' compilers</h1><p>Compiled without the GPUs (Mesa on pretended kernel drivers); nothing was computed."
  print "Registers and occupancy are in each driver's own unit. Red: spills or scratch memory. Empty: the driver does not say.</p>"
  print "<input id=f placeholder='filter: ampere f16 512' size=40><table><thead>"
}
NR == 1 { cell = "th" }
NR == 2 { print "</thead><tbody>"; cell = "td" }
{
  row = ""
  for (i = 1; i <= NF; i++) {
    if (NR == 1) name[i] = $i
    over = NR > 1 && (name[i] == "spills" || name[i] == "scratch_bytes") && $i + 0 > 0
    row = row "<" cell (over ? " class=over" : "") ">" escape($i)
  }
  print "<tr>" row
}
END {
  print "</tbody></table><script>const b=document.querySelector('tbody'),v=(r,i)=>r.cells[i].textContent;"
  print "document.querySelectorAll('th').forEach((h,i)=>h.onclick=()=>{const d=h.d=-(h.d||-1);[...b.rows].sort((x,y)=>d*"
  print "v(x,i).localeCompare(v(y,i),'en',{numeric:true})).forEach(r=>b.append(r))});"
  print "f.oninput=()=>{const w=f.value.split(/\\s+/);for(const r of b.rows)r.hidden=!w.every(x=>!x||[...r.cells].some(c=>c.textContent===x)||r.cells[0].textContent.includes(x))}</script>"
}
