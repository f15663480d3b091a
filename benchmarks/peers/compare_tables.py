"""The diff of two tables with datacompy: `compare_tables.py WANTED.csv STORED.csv KEY`. Prints seconds and rows."""

import json
import sys
import time

import pandas as pd
from datacompy import PandasCompare

wanted_path, stored_path, key = sys.argv[1:]
wanted, stored = (pd.read_csv(path, dtype="str", keep_default_na=False) for path in (wanted_path, stored_path))
began = time.perf_counter()
differing = PandasCompare(wanted, stored, join_columns=key).all_mismatch()
print(json.dumps({"seconds": time.perf_counter() - began, "rows": len(differing)}))
