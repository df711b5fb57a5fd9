"""Methods beside one another over several people: scenarios, rows, tables, a report."""

from guide_lib.evaluation.attack_rows import add_attacks, attack_lines, budget_curves
from guide_lib.evaluation.attacked import AttackTable
from guide_lib.evaluation.bench import Bench, open_bench
from guide_lib.evaluation.claims import add_rows, claim_folder, facts_made, shard_folder
from guide_lib.evaluation.comparison import evaluate_people
from guide_lib.evaluation.leaderboard import LEADERBOARD, leaderboard
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.protocol import protocol_of
from guide_lib.evaluation.report import write_report
from guide_lib.evaluation.results import contrast, read_rows, row_key, score_of, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, SCENARIOS, chosen_methods, people_of

__all__ = [
    "AttackTable",
    "Bench",
    "LEADERBOARD",
    "METHODS",
    "Measures",
    "SCENARIOS",
    "add_attacks",
    "add_rows",
    "attack_lines",
    "budget_curves",
    "chosen_methods",
    "claim_folder",
    "contrast",
    "evaluate_people",
    "facts_made",
    "leaderboard",
    "measured",
    "open_bench",
    "people_of",
    "protocol_of",
    "read_rows",
    "row_key",
    "score_of",
    "shard_folder",
    "summarise",
    "table_of",
    "write_report",
]
