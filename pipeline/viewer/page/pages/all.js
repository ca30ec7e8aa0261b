// The pages by name.

import * as circuit from "viewer/pages/circuit.js";
import * as diff from "viewer/pages/diff.js";
import * as failures from "viewer/pages/failures.js";
import * as feature from "viewer/pages/feature.js";
import * as features from "viewer/pages/features.js";
import * as graph from "viewer/pages/graph.js";
import * as help from "viewer/pages/help.js";
import * as notes from "viewer/pages/notes.js";
import * as overview from "viewer/pages/overview.js";
import * as prompts from "viewer/pages/prompts.js";
import * as sql from "viewer/pages/sql.js";
import * as trace from "viewer/pages/trace.js";

export const PAGE_MODULES = { overview, prompts, graph, feature, features, circuit, diff, trace, sql, failures, notes, help };
