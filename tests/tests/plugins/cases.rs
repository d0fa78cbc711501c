//! The table: each service with its plugin's configuration, and what it hears of a run that fails and one that
//! passes.

use serde_json::json;

use crate::harness::Case;
use crate::services::{archive, email, github, jira, pagerduty, slack, traces, webhook};

#[tokio::test]
async fn slack_hears_of_a_trouble_by_a_bot() {
    let case = Case {
        component: "slack",
        config: |url| json!({"api_url": format!("{url}/api"), "channel": "C0123456789"}),
        secrets: || json!({"token": slack::TOKEN}),
        denied: &[("token", "xoxb-0123-wrong")],
        check: slack::api,
        limited: slack::limited,
        told: 2,
        asked: &["message", "update", "answer to all"],
        said: "Told Slack",
    };
    case.holds().await;
}

#[tokio::test]
async fn slack_hears_of_a_trouble_by_an_incoming_webhook() {
    let case = Case {
        component: "slack",
        config: |_| json!({}),
        secrets: || json!({"webhook_url": "{url}/services/T0/B0/right"}),
        denied: &[("webhook_url", "{url}/services/T0/B0/wr0ng-t0ken")],
        check: slack::webhook,
        limited: slack::limited,
        told: 2,
        asked: &["message", "message"],
        said: "Told Slack",
    };
    case.holds().await;
}

#[tokio::test]
async fn pagerduty_opens_and_resolves_an_incident() {
    let case = Case {
        component: "pagerduty",
        config: |url| json!({"url": format!("{url}/v2/enqueue")}),
        secrets: || json!({"routing_key": pagerduty::KEY}),
        denied: &[("routing_key", "too-short-a-key")],
        check: pagerduty::check,
        limited: pagerduty::limited,
        told: 2,
        asked: &["trigger", "resolve"],
        said: "PagerDuty: trigger",
    };
    case.holds().await;
}

#[tokio::test]
async fn a_webhook_is_called_signed() {
    let case = Case {
        component: "webhook",
        config: |url| json!({"url": format!("{url}/hook")}),
        secrets: || json!({"secret": webhook::SECRET}),
        denied: &[("secret", "whsec_d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9u")],
        check: webhook::check,
        limited: webhook::limited,
        told: 2,
        asked: &["run_finished failed", "run_finished passed"],
        said: "Webhook called",
    };
    case.holds().await;
}

#[tokio::test]
async fn github_shows_statuses_and_a_comment() {
    let case = Case {
        component: "github",
        config: |url| json!({"api_url": url, "repository": "example/shop"}),
        secrets: || json!({"token": github::TOKEN}),
        denied: &[("token", "ghp_wrong")],
        check: github::check,
        limited: github::limited,
        told: 4,
        asked: &[
            "status pending",
            "status failure",
            "pulls",
            "comments",
            "comment",
            "status pending",
            "status success",
            "pulls",
            "comment again",
        ],
        said: "GitHub status: failure",
    };
    case.holds().await;
}

#[tokio::test]
async fn github_shows_check_runs_with_annotations() {
    let case = Case {
        component: "github",
        config: |url| json!({"api_url": url, "repository": "example/shop", "comments": "false"}),
        secrets: || json!({"token": github::APP_TOKEN}),
        denied: &[("token", "ghs_wrong")],
        check: github::check,
        limited: github::limited,
        told: 4,
        asked: &[
            "check run in_progress, annotations: 0",
            "check run failure, annotations: 1",
            "check run in_progress, annotations: 0",
            "check run success, annotations: 0",
        ],
        said: "GitHub check run: failed",
    };
    case.holds().await;
}

/// What every mail service is told.
const MAILS: &[&str] =
    &["default/http is failing", "default/http has recovered after 1 failed run"];

#[tokio::test]
async fn postmark_sends_mail() {
    let case = Case {
        config: |url| {
            json!({
                "service": "postmark", "url": url,
                "from": "Handoff <tests@example.com>", "to": "a@example.com, b@example.com",
            })
        },
        check: email::postmark,
        ..mail()
    };
    case.holds().await;
}

#[tokio::test]
async fn sendgrid_sends_mail() {
    let case = Case {
        config: |url| {
            json!({
                "service": "sendgrid", "url": url,
                "from": "tests@example.com", "to": "Team <team@example.com>",
            })
        },
        check: email::sendgrid,
        ..mail()
    };
    case.holds().await;
}

#[tokio::test]
async fn mailgun_sends_mail() {
    let case = Case {
        config: |url| {
            json!({
                "service": "mailgun", "url": url, "domain": "mg.example.com",
                "from": "tests@example.com", "to": "team@example.com",
            })
        },
        check: email::mailgun,
        ..mail()
    };
    case.holds().await;
}

#[tokio::test]
async fn a_mail_service_of_the_operators_choice_sends_mail() {
    let case = Case {
        config: |url| {
            json!({
                "url": format!("{url}/send"), "method": "PUT",
                "from": "tests@example.com", "to": "team@example.com",
                "body": r#"{"recipient": "{{mail.to}}", "title": "{{mail.subject}}",
                    "plain": "{{mail.text}}", "html": "{{mail.html}}"}"#,
            })
        },
        secrets: || json!({"header.x-api-key": email::TOKEN}),
        denied: &[("header.x-api-key", "wr0ng-t0ken")],
        check: email::other,
        ..mail()
    };
    case.holds().await;
}

fn mail() -> Case {
    Case {
        component: "email",
        config: |_| json!({}),
        secrets: || json!({"token": email::TOKEN}),
        denied: &[("token", "wr0ng-t0ken")],
        check: email::other,
        limited: email::limited,
        told: 2,
        asked: MAILS,
        said: "Mailed: default/http is failing",
    }
}

#[tokio::test]
async fn jira_has_an_issue_that_is_done_when_the_suite_has_recovered() {
    let case = Case {
        component: "jira",
        config: |url| {
            json!({
                "url": url, "project": "SHOP", "email": "bot@example.com", "transition": "Done",
            })
        },
        secrets: || json!({"token": jira::TOKEN}),
        denied: &[("token", "ATATT-wrong")],
        check: jira::check,
        limited: jira::limited,
        told: 2,
        asked: &["search", "issue", "comment", "transitions", "done"],
        said: "Jira: SHOP-24 is opened",
    };
    case.holds().await;
}

#[tokio::test]
async fn a_store_has_each_run_as_json_and_junit() {
    let case = Case {
        component: "archive",
        config: |url| json!({"endpoint": url, "bucket": "runs", "region": "eu-central-1"}),
        secrets: || json!({"access_key_id": archive::ID, "secret_access_key": archive::SECRET}),
        denied: &[("secret_access_key", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYwrong")],
        check: archive::check,
        limited: archive::limited,
        told: 2,
        asked: &["json failed", "junit", "json passed", "junit"],
        said: "Archived",
    };
    case.holds().await;
}

#[tokio::test]
async fn logs_traces_and_metrics_of_a_failed_test_are_found() {
    let case = Case {
        component: "traces",
        config: |url| {
            json!({
                "loki.url": format!("{url}/loki"), "tempo.url": format!("{url}/tempo"),
                "elasticsearch.url": format!("{url}/elasticsearch"),
                "prometheus.url": format!("{url}/prometheus"),
                "prometheus.query": "rate(http_errors_total[1m])",
            })
        },
        secrets: || {
            json!({
                "loki.token": traces::TOKEN, "tempo.token": traces::TOKEN,
                "elasticsearch.token": traces::TOKEN, "prometheus.token": traces::TOKEN,
            })
        },
        denied: &[
            ("loki.token", "glsa-wrong"),
            ("tempo.token", "glsa-wrong"),
            ("elasticsearch.token", "glsa-wrong"),
            ("prometheus.token", "glsa-wrong"),
        ],
        check: traces::check,
        limited: traces::limited,
        told: 2,
        asked: &["loki", "tempo", "elasticsearch", "prometheus"],
        said: "Logs in Loki of fails_by_an_unexpected_status",
    };
    case.holds().await;
}
