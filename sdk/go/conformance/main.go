// Command conformance is the suite that every SDK has: see sdk/CONFORMANCE.md.
package main

import (
	"fmt"
	"strings"
	"time"

	handoff "github.com/handoff-tests/handoff/sdk/go"
)

func main() {}

func init() {
	handoff.Register(handoff.TestSuite{
		Name:        "conformance",
		Namespace:   "go",
		Description: "What every SDK can do",
		Owner:       "handoff",
		Links:       []handoff.Link{{Title: "Source", URL: "https://example.test/source"}},
		Labels:      map[string]string{"language": "go"},
		Timeout:     5 * time.Second,
		Attempts:    1,
		WantsHTTP:   []string{"http://127.0.0.1:1"},
		Setup:       setup,
		Teardown:    teardown,
		Tests:       tests(),
	})
}

func tests() []handoff.Test {
	all := []handoff.Test{
		{Name: "passes", Func: passes, Tags: []string{"smoke", "pass"}, Description: "Passes, **always**."},
		{Name: "größe ✓ 日本", Func: passes},
		{Name: "fails_by_assertion", Func: failsByAssertion},
		{Name: "fails_with_operands", Func: failsWithOperands},
		{Name: "fails_by_error", Func: failsByError},
		{Name: "fails_deep", Func: failsDeep},
		{Name: "reports_a_failure_and_goes_on", Func: reportsAFailureAndGoesOn},
		{Name: "skips", Func: skips},
		{Name: "skips_in_a_helper", Func: skipsInAHelper},
		{Name: "fails_softly", Func: failsSoftly, Soft: true},
		{Name: "marks_itself_soft", Func: marksItselfSoft},
		{Name: "disabled", Func: disabled, Disabled: "DISABLED ON PURPOSE"},
		{Name: "exits_with_3", Func: exitsWith3},
		{Name: "exits_with_0", Func: exitsWith0},
		{Name: "traps", Func: traps},
		{Name: "overflows_the_stack", Func: overflowsTheStack},
		{Name: "flaky", Func: flaky, Attempts: 3},
		{Name: "fails_every_time", Func: failsEveryTime, Attempts: 3},
		{Name: "log_levels", Func: logLevels},
		{Name: "keeps_the_order_of_output", Func: keepsTheOrderOfOutput},
		{Name: "ends_output_without_newline", Func: endsOutputWithoutNewline},
		{Name: "fails_after_output_without_newline", Func: failsAfterOutputWithoutNewline},
		{Name: "writes_unicode", Func: writesUnicode},
		{Name: "writes_much", Func: writesMuch},
		{Name: "knows_its_attempt", Func: knowsItsAttempt},
		{Name: "extends_its_deadline", Func: extendsItsDeadline, Timeout: 2 * time.Second},
		{Name: "has_parts", Func: hasParts},
		{Name: "sets_values", Func: setsValues},
		{Name: "gets_values", Func: getsValues},
		{Name: "masks_secrets", Func: masksSecrets},
		{Name: "attaches", Func: attaches},
		{Name: "hears_a_refusal", Func: hearsARefusal},
		{Name: "has_spans", Func: hasSpans},
		{Name: "reads_parameters", Func: readsParameters},
		{Name: "reads_the_environment", Func: readsTheEnvironment},
		{Name: "has_clocks_and_random", Func: hasClocksAndRandom},
		{Name: "has_a_scratch_directory", Func: hasAScratchDirectory},
		{Name: "sleeps", Func: sleeps},
		{Name: "gets_over_http", Func: getsOverHTTP},
		{Name: "posts_json", Func: postsJSON},
		{Name: "sees_a_status", Func: seesAStatus},
		{Name: "hears_a_denial", Func: hearsADenial},
		{Name: "gives_up_waiting", Func: givesUpWaiting},
		{Name: "gets_a_big_body", Func: getsABigBody},
		{Name: "loops", Func: loops, Timeout: 300 * time.Millisecond},
		{Name: "sleeps_too_long", Func: sleepsTooLong, Timeout: 300 * time.Millisecond},
		{Name: "allocates", Func: allocates},
		{Name: "cleans_up_in_order", Func: cleansUpInOrder},
		{Name: "cleans_up_after_a_failure", Func: cleansUpAfterAFailure},
		{Name: "is_alone_1", Func: isAlone},
		{Name: "is_alone_2", Func: isAlone},
		{Name: "sorts", Func: sorts},
		{Name: "writes_and_reads_json", Func: writesAndReadsJSON},
		{Name: "limit_fuel", Func: loops, Tags: limits, Timeout: time.Minute},
		{Name: "limit_log", Func: limitLog, Tags: limits},
		{Name: "limit_log_line", Func: limitLogLine, Tags: limits},
		{Name: "limit_message", Func: limitMessage, Tags: limits},
		{Name: "limit_failures", Func: limitFailures, Tags: limits},
		{Name: "limit_value", Func: limitValue, Tags: limits},
		{Name: "limit_values", Func: limitValues, Tags: limits},
		{Name: "limit_artifacts", Func: limitArtifacts, Tags: limits},
		{Name: "limit_spans", Func: limitSpans, Tags: limits},
		{Name: "limit_parts", Func: limitParts, Tags: limits},
		{Name: "limit_requests", Func: limitRequests, Tags: limits},
		{Name: "limit_received", Func: limitReceived, Tags: limits},
		{Name: "limit_random", Func: limitRandom, Tags: limits},
		{Name: "limit_scratch", Func: limitScratch, Tags: limits},
		{Name: "limit_extension", Func: limitExtension, Tags: limits},
	}
	for i := range 200 {
		all = append(all, handoff.Test{Name: fmt.Sprintf("many_%03d", i), Func: passes})
	}
	return all
}

func setup(t *handoff.T) {
	t.Log("SETUP LINE")
	t.SetValue("from_setup", "set in setup ✓")
	t.SetSecret("secret_token", "open-sesame-größe")
}

func teardown(t *handoff.T) {
	t.Log("TEARDOWN LINE", t.Value("from_test"))
}

// big is a value near the limit.
var big = strings.Repeat("x", 60_000)
