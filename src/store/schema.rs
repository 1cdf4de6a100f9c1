//! The tables as Diesel sees them; `migrations/` is what makes them.

diesel::table! {
    users (id) {
        id -> BigInt,
        username -> Text,
        password_hash -> Text,
        role -> Text,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    openids (appid, openid) {
        appid -> Text,
        openid -> Text,
        user_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Text,
        user_id -> BigInt,
        openid -> Nullable<Text>,
        appid -> Nullable<Text>,
        created_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
        ip -> Text,
        device -> Text,
    }
}

diesel::table! {
    oauth_states (state_hash) {
        state_hash -> Text,
        browser_hash -> Text,
        next -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    setup_links (token_hash) {
        token_hash -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    orders (id) {
        id -> BigInt,
        out_trade_no -> Text,
        user_id -> BigInt,
        intent -> Text,
        goods_name -> Text,
        amount_fen -> BigInt,
        environment -> Text,
        status -> Integer,
        created_at -> BigInt,
        expires_at -> BigInt,
        close_after -> BigInt,
        closed_at -> Nullable<BigInt>,
        paid_at -> Nullable<BigInt>,
        transaction_id -> Nullable<Text>,
        settled_by -> Nullable<Text>,
        late -> Integer,
        refund_fen -> BigInt,
        refunds -> Integer,
        told_paid_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    attempts (out_trade_no) {
        out_trade_no -> Text,
        order_id -> BigInt,
        channel -> Text,
        provider -> Text,
        account -> Text,
        environment -> Text,
        amount_fen -> BigInt,
        goods_name -> Text,
        payer -> Text,
        client_ip -> Text,
        notify_url -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        asked_at -> Nullable<BigInt>,
        prepay_id -> Nullable<Text>,
        prepaid_at -> Nullable<BigInt>,
        closed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    pending_queries (out_trade_no) {
        out_trade_no -> Text,
        next_at -> BigInt,
        asked_at -> Nullable<BigInt>,
        asked -> Integer,
    }
}

diesel::table! {
    notices (id) {
        id -> Text,
        received_at -> BigInt,
        provider -> Text,
        source -> Text,
        verdict -> Text,
        out_trade_no -> Nullable<Text>,
        transaction_id -> Nullable<Text>,
        remote_ip -> Text,
        headers -> Text,
        body -> Binary,
        reply -> Text,
    }
}

diesel::table! {
    rejected_notices (id) {
        id -> Text,
        received_at -> BigInt,
        provider -> Text,
        source -> Text,
        verdict -> Text,
        out_trade_no -> Nullable<Text>,
        transaction_id -> Nullable<Text>,
        remote_ip -> Text,
        headers -> Text,
        body -> Binary,
        reply -> Text,
    }
}

diesel::table! {
    ledger (id) {
        id -> BigInt,
        kind -> Text,
        source_id -> BigInt,
        order_id -> Nullable<BigInt>,
        account -> Text,
        amount_fen -> BigInt,
        notice_id -> Nullable<Text>,
        created_at -> BigInt,
    }
}

diesel::table! {
    work_items (id) {
        id -> BigInt,
        kind -> Text,
        out_trade_no -> Text,
        transaction_id -> Text,
        notice_id -> Text,
        opened_at -> BigInt,
        closed_at -> Nullable<BigInt>,
        closed_by -> Nullable<Text>,
        note -> Nullable<Text>,
        out_refund_no -> Text,
        provider -> Nullable<Text>,
        account -> Nullable<Text>,
        environment -> Nullable<Text>,
        amount_fen -> Nullable<BigInt>,
        refund_fen -> BigInt,
        refunds -> Integer,
    }
}

diesel::table! {
    refunds (id) {
        id -> BigInt,
        out_refund_no -> Text,
        intent -> Text,
        order_id -> Nullable<BigInt>,
        work_item_id -> Nullable<BigInt>,
        user_id -> Nullable<BigInt>,
        provider -> Text,
        account -> Text,
        environment -> Text,
        out_trade_no -> Text,
        transaction_id -> Text,
        total_fen -> BigInt,
        amount_fen -> BigInt,
        reason -> Text,
        notify_url -> Text,
        requested_by -> Text,
        requested_at -> BigInt,
        decided_by -> Nullable<Text>,
        state -> Text,
        refund_id -> Nullable<Text>,
        last_answer -> Nullable<Text>,
        asked -> Integer,
        asked_at -> Nullable<BigInt>,
        refused_at -> Nullable<BigInt>,
        queried_at -> Nullable<BigInt>,
        next_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    corrections (id) {
        id -> BigInt,
        work_item_id -> BigInt,
        provider -> Text,
        transaction_id -> Text,
        user_id -> BigInt,
        amount_fen -> BigInt,
        actor -> Text,
        reason -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    adjustments (id) {
        id -> BigInt,
        intent -> Text,
        user_id -> BigInt,
        amount_fen -> BigInt,
        reason -> Text,
        requested_by -> Text,
        requested_at -> BigInt,
        decided_by -> Nullable<Text>,
        state -> Text,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    freezes (user_id) {
        user_id -> BigInt,
        at -> BigInt,
        actor -> Text,
        reason -> Text,
    }
}

diesel::table! {
    bills (id) {
        id -> BigInt,
        provider -> Text,
        account -> Text,
        environment -> Text,
        day -> Text,
        state -> Text,
        leased_until -> BigInt,
        next_at -> Nullable<BigInt>,
        said -> Text,
        fetched_at -> Nullable<BigInt>,
        sha256 -> Text,
        compared_at -> Nullable<BigInt>,
        payments -> BigInt,
        payments_fen -> BigInt,
        refunds -> BigInt,
        refunds_fen -> BigInt,
        our_payments -> BigInt,
        our_payments_fen -> BigInt,
        our_refunds -> BigInt,
        our_refunds_fen -> BigInt,
        credited -> BigInt,
    }
}

diesel::table! {
    bill_rows (bill_id, line) {
        bill_id -> BigInt,
        line -> Integer,
        kind -> Text,
        transaction_id -> Text,
        out_trade_no -> Text,
        out_refund_no -> Text,
        amount_fen -> BigInt,
        at -> BigInt,
    }
}

diesel::table! {
    bill_differences (id) {
        id -> BigInt,
        bill_id -> BigInt,
        bucket -> Text,
        kind -> Text,
        transaction_id -> Text,
        out_trade_no -> Text,
        out_refund_no -> Text,
        theirs_fen -> Nullable<BigInt>,
        ours_fen -> Nullable<BigInt>,
        at -> BigInt,
        work_item_id -> BigInt,
        seen_at -> BigInt,
    }
}

diesel::table! {
    order_events (id) {
        id -> BigInt,
        order_id -> BigInt,
        at -> BigInt,
        kind -> Text,
        detail -> Text,
    }
}

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        action -> Text,
        target -> Text,
        detail -> Text,
        was -> Text,
        became -> Text,
        prev -> Text,
        hash -> Text,
    }
}

diesel::table! {
    audit_seal (id) {
        id -> BigInt,
        row_id -> BigInt,
        hash -> Text,
        rows -> BigInt,
        at -> BigInt,
    }
}

diesel::table! {
    invitations (token_hash) {
        token_hash -> Text,
        role -> Text,
        for_whom -> Text,
        invited_by -> Text,
        expires_at -> BigInt,
        account_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    second_factors (user_id) {
        user_id -> BigInt,
        secret -> Text,
        confirmed_at -> Nullable<BigInt>,
        last_step -> BigInt,
        failures -> BigInt,
        blocked_until -> BigInt,
    }
}

diesel::table! {
    recovery_codes (user_id, code_hash) {
        user_id -> BigInt,
        code_hash -> Text,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    code_waits (browser_hash) {
        browser_hash -> Text,
        user_id -> BigInt,
        next -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    heartbeat (id) {
        id -> BigInt,
        at -> BigInt,
    }
}

diesel::joinable!(orders -> users (user_id));
diesel::joinable!(attempts -> orders (order_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(openids -> users (user_id));
diesel::joinable!(code_waits -> users (user_id));
diesel::joinable!(bill_differences -> bills (bill_id));
diesel::joinable!(bill_differences -> work_items (work_item_id));
diesel::allow_tables_to_appear_in_same_query!(
    users,
    code_waits,
    second_factors,
    freezes,
    openids,
    sessions,
    orders,
    attempts,
    pending_queries,
    ledger,
    refunds,
    corrections,
    work_items,
    notices,
    bills,
    bill_rows,
    bill_differences
);
