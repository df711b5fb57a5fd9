"""Methods beside one another over several people: scenarios, rows, tables, a report."""

from guide_lib.evaluation.attacked import AttackTable, attack_lines
from guide_lib.evaluation.comparison import claim_folder, evaluate_people, facts_made
from guide_lib.evaluation.leaderboard import LEADERBOARD, leaderboard
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.protocol import protocol_of
from guide_lib.evaluation.report import write_report
from guide_lib.evaluation.results import contrast, read_rows, row_key, score_of, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, SCENARIOS, chosen_methods, people_of

__all__ = [
    "AttackTable",
    "LEADERBOARD",
    "METHODS",
    "Measures",
    "SCENARIOS",
    "attack_lines",
    "chosen_methods",
    "claim_folder",
    "contrast",
    "evaluate_people",
    "facts_made",
    "leaderboard",
    "measured",
    "people_of",
    "protocol_of",
    "read_rows",
    "row_key",
    "score_of",
    "summarise",
    "table_of",
    "write_report",
]
