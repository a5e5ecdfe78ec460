"""The lab's words, as the entry-point group ``glasslog.commands`` hands them to ``glasslog``: names, help and places.

Each word is ``(help, "module:function")``, imported when it is called and not before, or ``(help, words)``, a group.
Nothing is imported here: ``glasslog verify`` must not pay for a lab's tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Words: TypeAlias = "Mapping[str, tuple[str, str | Words]]"

_CLI = "glasslog_lab.cli."
_ATTEST: Words = {
    "model": ("What a model consists of: tensors and files by digest.", _CLI + "weights:attest_model"),
    "dataset": ("What a data set consists of: a root over its records.", _CLI + "datasets:attest_dataset"),
    "run": ("A training run and its segments, from its journal.", _CLI + "record:attest_run"),
    "segment": ("Some steps of a run; the recorder states these.", _CLI + "attest:state_training_segment"),
    "evaluation-bar": ("What will count as passed, set beforehand.", _CLI + "attest:state_evaluation_bar"),
    "evaluation": ("What an evaluation gave.", _CLI + "attest:state_evaluation"),
    "release": ("That a model is placed on a market.", _CLI + "attest:state_release"),
    "usage": ("How much of an API was used, under which agreement.", _CLI + "attest:state_api_usage"),
    "rights": ("Who may do what with something.", _CLI + "attest:state_rights"),
    "author": ("Who you are.", _CLI + "attest:state_author"),
    "content-summary": ("The summary of training content for the EU.", _CLI + "attest:state_content_summary"),
    "replay": ("What a replay of a run gave.", _CLI + "attest:state_replay"),
    "finding": ("What an examination of a suspect found.", _CLI + "attest:state_finding"),
    "withdrawal": ("That you no longer stand by a statement.", _CLI + "attest:state_withdrawal"),
    "audit-report": ("What an audit of the ledger gave.", _CLI + "attest:state_audit_report"),
    "compromise-notice": ("That a key is no longer yours alone.", _CLI + "attest:state_compromise_notice"),
}
_ESCROW: Words = {
    "split": ("Split a key among custodians.", _CLI + "sealing:escrow_split"),
    "open": ("Take a custodian's share out of its envelope.", _CLI + "sealing:escrow_open"),
    "join": ("Join shares and put the key back.", _CLI + "sealing:escrow_join"),
}
_VAULT: Words = {
    "new": ("Make an empty vault.", _CLI + "sealing:new_vault"),
    "list": ("List what a vault can open, and what was erased.", _CLI + "sealing:list_vault"),
}
_EVIDENCE: Words = {
    "add": ("Keep originals, each by its digest.", _CLI + "evidence:add"),
    "verify": ("Verify every original that is kept.", _CLI + "evidence:verify"),
    "erase": ("Delete an original; its digest stays.", _CLI + "evidence:erase"),
}
WORDS: Words = {
    "attest": ("State something: model, data set, run, evaluation, release ...", _ATTEST),
    "diff": ("Compare two models tensor by tensor.", _CLI + "weights:diff"),
    "prove-tensor": ("Prove that one tensor is in a model.", _CLI + "weights:prove_tensor"),
    "verify-tensor": ("Verify such a proof offline.", _CLI + "weights:verify_tensor"),
    "prove-record": ("Prove that a record is, or is not, in a data set.", _CLI + "datasets:prove_record"),
    "verify-record": ("Verify such a proof offline.", _CLI + "datasets:verify_record"),
    "record": ("Run a training and record its every step.", _CLI + "record:record"),
    "replay": ("Re-execute random segments of a run.", _CLI + "record:replay"),
    "journal": ("Verify what the recorder wrote.", _CLI + "record:show_journal"),
    "import": ("Import what is already published.", _CLI + "formats:import_"),
    "export": ("Write statements in a format that others read.", _CLI + "formats:export"),
    "vault": ("Where what is sealed is kept.", _VAULT),
    "seal": ("Seal a statement.", _CLI + "sealing:seal"),
    "open": ("Decrypt and verify a disclosure.", _CLI + "sealing:open_file"),
    "opening": ("Write what opens a sealed entry.", _CLI + "sealing:opening"),
    "disclose": ("Encrypt an entry's opening to one auditor.", _CLI + "sealing:disclose"),
    "erase": ("Destroy a sealed entry's key and content.", _CLI + "sealing:erase"),
    "reader-key": ("Make an auditor's or custodian's key pair.", _CLI + "sealing:reader_key"),
    "escrow": ("Keys in the hands of several custodians.", _ESCROW),
    "seal-clock": ("Seal one entry per period, run or no run.", _CLI + "sealing:seal_clock"),
    "evidence": ("Originals kept outside the log, by digest.", _EVIDENCE),
}
