//! Parameters of queries and paths, read one by one so that each refusal names its own. Unknown ones are ignored, as unknown
//! fields of a transaction are.

use axum::{
    extract::{Path, Query, rejection::PathRejection},
    http::Uri,
};

use crate::problem::Problem;

/// A route's one variable part, or that it is no text.
pub type Segment = Result<Path<String>, PathRejection>;

/// The text of a route's variable part.
///
/// # Errors
/// It is not percent-encoded UTF-8.
pub fn segment(segment: Segment) -> Result<String, Problem> {
    segment.map(|Path(text)| text).map_err(|_| Problem::not_found("the path is not percent-encoded UTF-8; encode it"))
}

/// The parameters as they came.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Takes a query apart.
    ///
    /// # Errors
    /// It is not percent-encoded UTF-8.
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(_) => Err(Problem::parameter("", "NOT_A_QUERY", "the query is not percent-encoded UTF-8; encode it")),
        }
    }

    /// The value of a parameter; an empty one counts as absent only where `of` says nothing of it.
    ///
    /// # Errors
    /// It stands more than once.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut found = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (found.next(), found.next()) {
            (_, Some(_)) => {
                Err(Problem::parameter(name, "REPEATED", "the parameter stands more than once; send it once"))
            }
            (value, None) => Ok(value),
        }
    }
}
