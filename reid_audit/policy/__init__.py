"""reid-audit.toml and reid-audit-waivers.toml: found, read, checked, and written as a commented template."""

from reid_audit.policy.load import load_policy, policy_sha256
from reid_audit.policy.parse import parse_policy
from reid_audit.policy.places import searched
from reid_audit.policy.template import policy_template
from reid_audit.policy.waivers import find_waivers, load_waivers

__all__ = [
    "find_waivers",
    "load_policy",
    "load_waivers",
    "parse_policy",
    "policy_sha256",
    "policy_template",
    "searched",
]
