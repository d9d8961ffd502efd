//! The two contracts by name, for the description of operations; what they say is in `schemas/`.

use utoipa::ToSchema;

/// A transaction: `schemas/transaction.schema.json`, which takes this schema's place in the description.
#[derive(ToSchema)]
pub struct Transaction {}

/// A verdict: `schemas/verdict.schema.json`, which takes this schema's place in the description.
#[derive(ToSchema)]
pub struct Verdict {}
