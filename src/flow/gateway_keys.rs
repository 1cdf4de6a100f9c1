//! The keys some gateways sign with change: they are fetched before they are needed, and when an unknown one turns up.

use super::FlowError;
use crate::{app::App, gateway::SIGN_PROBE};

/// Asks every gateway that says it is time to; gives how many have told. The gateway alone decides what it believes.
///
/// # Errors
/// No random bytes.
pub async fn refresh(app: &App) -> Result<usize, FlowError> {
    let mut told = 0;
    for gateway in app.gateways() {
        let Some(request) = gateway.keys(&app.clock.stamp()?) else { continue };
        let outcome = match app.ask(&request).await {
            Err(error) => Err((error.to_string(), "no_answer")),
            Ok(answer) => gateway
                .keys_told(&answer)
                .map_err(|untrusted| (untrusted.to_string(), untrusted.counted("no_answer"))),
        };
        let counted = outcome.as_ref().map_or_else(|(_, word)| *word, |()| "answered");
        app.metrics.gateway_calls.with_label_values(&[request.call, counted]).inc();
        match outcome {
            Ok(()) => told += 1,
            Err((reason, word)) => {
                if word != SIGN_PROBE {
                    app.metrics.alerts.with_label_values(&["gateway_keys"]).inc();
                }
                tracing::warn!("the gateway's keys could not be fetched, the known ones stay: {reason}");
            }
        }
    }
    Ok(told)
}
