"""FOCUS, the FinOps Open Cost and Usage Specification: one mapping from a call's charges to its columns.

One row for each call and meter. `BilledCost` and `EffectiveCost` of a call's rows add up to the call's cost in the ledger to the
last digit: each is cut to nine places, and the largest takes what is left over. `ListCost` and `ContractedCost` are exact products.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiplat_lab.core.types import TOKEN_CLASSES, TOKEN_PARTS
from aiplat_lab.ledger.charges import CHARGES, EXACT, PRICED

FOCUS_VERSION = "1.3"
"""The version of the specification that the columns follow (focus.finops.org; ProviderName and PublisherName are deprecated in it)."""

_TOKENS = ", ".join(f"'{name}'" for name in (*TOKEN_CLASSES, "cache_write_1h_tokens", *TOKEN_PARTS))
_IS_TOKENS = f"meter IN ({_TOKENS})"
_MODEL = "coalesce(nullif(response_model, ''), request_model)"
_UNIT = (
    f"CASE WHEN {_IS_TOKENS} THEN 'Tokens' ELSE array_to_string(list_transform(string_split(meter, '_'), "
    "lambda word: upper(word[1]) || word[2:]), ' ') END"
)
_PER = f"CASE WHEN {_IS_TOKENS} THEN 1000000 ELSE 1 END"
_QUANTITY = f"(CASE WHEN {_IS_TOKENS} THEN quantity * 0.000001::DECIMAL(7,6) ELSE quantity END)::{EXACT}"
_CONTRACTED = f"(unit_usd * {_PER})::{EXACT}"
_DISCOUNT = "coalesce(TRY_CAST(other_prices_usd['discount'] AS DECIMAL(18,9)), 0)"
_LIST = (
    f"CASE WHEN {_DISCOUNT} = 0 THEN {_CONTRACTED} WHEN {_DISCOUNT} < 1 "
    f"THEN round(({_CONTRACTED})::DOUBLE / (1 - {_DISCOUNT})::DOUBLE, 9)::{EXACT} END"
)
_SKU = f"provider || '/' || {_MODEL} || '/' || meter || CASE WHEN service_tier <> '' THEN '/' || service_tier ELSE '' END"
_SECOND = "date_trunc('second', {})"

COLUMNS: Mapping[str, str] = {
    "BilledCost": "billed_usd",
    "BillingAccountId": "provider",
    "BillingAccountName": "provider",
    "BillingAccountType": "'Provider'",
    "BillingCurrency": "'USD'",
    "BillingPeriodEnd": "date_trunc('month', started_at) + INTERVAL 1 MONTH",
    "BillingPeriodStart": "date_trunc('month', started_at)::TIMESTAMP",
    "ChargeCategory": "'Usage'",
    "ChargeClass": "NULL::VARCHAR",
    "ChargeDescription": f"{_MODEL} || ' at ' || provider || ': ' || replace(meter, '_', ' ')",
    "ChargeFrequency": "'Usage-Based'",
    "ChargePeriodEnd": f"{_SECOND.format('coalesce(ended_at, started_at)')} + INTERVAL 1 SECOND",
    "ChargePeriodStart": _SECOND.format("started_at"),
    "ConsumedQuantity": f"quantity::{EXACT}",
    "ConsumedUnit": _UNIT,
    "ContractedCost": "exact_usd",
    "ContractedUnitPrice": _CONTRACTED,
    "EffectiveCost": "billed_usd",
    "HostProviderName": "provider",
    "InvoiceIssuerName": "provider",
    "ListCost": f"CASE WHEN {_DISCOUNT} = 0 THEN exact_usd ELSE ({_LIST}) * {_QUANTITY} END::{EXACT}",
    "ListUnitPrice": _LIST,
    "PricingCategory": "'Standard'",
    "PricingCurrency": "'USD'",
    "PricingQuantity": _QUANTITY,
    "PricingUnit": f"CASE WHEN {_IS_TOKENS} THEN '1000000 Tokens' ELSE {_UNIT} END",
    "ProviderName": "provider",
    "PublisherName": "provider",
    "RegionId": "nullif(region, '')",
    "RegionName": "nullif(region, '')",
    "ResourceId": f"provider || '/' || {_MODEL}",
    "ResourceName": _MODEL,
    "ResourceType": "'Model'",
    "ServiceCategory": "'AI and Machine Learning'",
    "ServiceName": "request_model",
    "ServiceProviderName": "provider",
    "ServiceSubcategory": "'Generative AI'",
    "SkuId": _SKU,
    "SkuMeter": "replace(meter, '_', ' ')",
    "SkuPriceDetails": "to_json({'x_ServiceTier': coalesce(nullif(service_tier, ''), 'default')})::VARCHAR",
    "SkuPriceId": f"{_SKU} || '@' || coalesce(price_version, 'unknown')",
    "SubAccountId": "nullif(team, '')",
    "SubAccountName": "nullif(team, '')",
    "SubAccountType": "CASE WHEN team <> '' THEN 'Team' END",
    "Tags": "coalesce(to_json(tags)::VARCHAR, '{}')",
    "x_CallId": "call_id::VARCHAR",
    "x_CostCentre": "nullif(cost_centre, '')",
    "x_KeyId": "nullif(key_id, '')",
    "x_Notebook": "nullif(notebook, '')",
    "x_Operation": "operation",
    "x_PriceVersion": "price_version",
    "x_Project": "nullif(project, '')",
    "x_Prompt": "nullif(prompt_name, '')",
    "x_PromptVersion": "nullif(prompt_version, '')",
    "x_ServiceTier": "nullif(service_tier, '')",
    "x_Status": "status",
    "x_Surface": "nullif(surface, '')",
    "x_User": "nullif(user_id, '')",
}
"""Every column with its SQL, the specification's own first."""

_WHOLE = (
    f"SELECT *, 'calls' AS meter, 1::BIGINT AS quantity, cost_usd::{EXACT} AS unit_usd, cost_usd::{EXACT} AS exact_usd FROM calls "
    f"WHERE cost_usd <> 0 AND NOT coalesce(({PRICED}), false)"
)
_CUT = "((replace(exact_usd::VARCHAR, '.', '')::HUGEINT // 1000000000)::DECIMAL(28,0) * 0.000000001::DECIMAL(10,9))::DECIMAL(18,9)"
_BILLED = (
    f"SELECT *, CASE WHEN place = 1 THEN (cost_usd - sum(cut) OVER (PARTITION BY seq) + cut)::DECIMAL(18,9) ELSE cut END AS billed_usd "
    f"FROM (SELECT *, {_CUT} AS cut, row_number() OVER (PARTITION BY seq ORDER BY exact_usd DESC, meter) AS place "
    f"FROM ({CHARGES} UNION ALL BY NAME {_WHOLE}))"
)
FOCUS = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in COLUMNS.items())} FROM ({_BILLED}) ORDER BY seq, place"
"""The charges of the calls as FOCUS rows. A call whose cost nobody knows has no row; one that cost nothing has only its usage."""
