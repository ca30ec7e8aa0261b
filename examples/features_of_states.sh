#!/bin/sh
# Do features that are active for one US state carry the built-in model's answer? Run it after `make demo`.
# Features of a state: active at the last token of at least 80% of its two-hop prompts and of at most SHARE of the
# others'. The tables say which; what they do has no part in the choice.
SHARE="${1:-0.3}"
SELECTIVE="with last as (
    select subject, layer, feature, activation from activations join graphs using (prompt_key)
    where family = 'two_hop' and position = positions - 1),
  states as (select subject, count(*) as prompts from graphs where family = 'two_hop' group by subject),
  everywhere as (select layer, feature, count(*) as active from last group by all),
  selective as (
    select subject, layer, feature, avg(activation) as activation
    from last join states using (subject) join everywhere using (layer, feature)
    group by subject, layer, feature
    having count(*) >= 0.8 * any_value(prompts) and any_value(active) - count(*)
      <= $SHARE * ((select sum(prompts) from states) - any_value(prompts)))"
# Each held-out prompt, with the capital of the state that is put in: the one 17 places on in the alphabet.
OTHER="capitals as (select distinct subject, answer from graphs where family = 'two_hop'),
  placed as (select *, row_number() over (order by subject) as place, count(*) over () as n from capitals),
  others as (select a.subject, b.subject as other, b.answer as partner
    from placed a join placed b on b.place = (a.place + 16) % a.n + 1),
  tested as (select prompt_key, subject, answer, other, partner from graphs join others using (subject)
    where family = 'two_hop' and held_out)"
OWN="$SELECTIVE, $OTHER select prompt_key, layer, feature, -1 as position from tested join selective using (subject)"
PROMPTS="with $OTHER select prompt_key, subject as cluster, answer from tested"
PAIRED="with $OTHER select prompt_key, subject as cluster, answer, partner from tested"
PUT_IN="$SELECTIVE, $OTHER select prompt_key, layer, feature, -1 as position, 2 * activation as value
  from tested join selective on selective.subject = other"

circuit-sweep test runs/demo --features "$OWN" --prompts "$PROMPTS"
circuit-sweep test runs/demo --features "$OWN" --prompts "$PAIRED" --swap-from "$PUT_IN"
