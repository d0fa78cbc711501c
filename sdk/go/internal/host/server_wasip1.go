package host

import (
	"errors"
	"strings"
	"time"

	"github.com/handoff-tests/handoff/sdk/go/internal/abi"
	exports "github.com/handoff-tests/handoff/sdk/go/internal/bindings/exports/export_handoff_suite_tests"
	_ "github.com/handoff-tests/handoff/sdk/go/internal/bindings/exports/wit_exports" // exports them
	context "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/handoff_suite_context"
	tests "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/handoff_suite_tests"
	vocabulary "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/handoff_suite_vocabulary"
	store "github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/wasi_config_store"
)

// Serve makes the guest what the server calls.
func Serve(guest Guest) {
	exports.Describe = func() tests.SuiteDescription { return toDescription(guest.Describe()) }
	exports.Setup = func() vocabulary.Outcome { return toOutcome(guest.Setup()) }
	exports.Run = func(test string) vocabulary.Outcome {
		return toOutcome(guest.Run(strings.Clone(test)))
	}
	exports.Teardown = func() abi.Result[abi.Unit, vocabulary.Failure] {
		if outcome := guest.Teardown(); outcome.Ending == Failed {
			return abi.Err[abi.Unit](toFailure(outcome.Failure))
		}
		return abi.Ok[abi.Unit, vocabulary.Failure](abi.Unit{})
	}
}

// Log writes to the attempt's log.
func Log(level Level, message string) {
	context.Log(vocabulary.Level(level), text(message))
}

// Attempt is the number of the attempt.
func Attempt() int {
	return int(context.AttemptNumber())
}

// Remaining is how long the attempt may still run.
func Remaining() time.Duration {
	return fromMillis(context.RemainingMs())
}

// ExtendDeadline asks for more time, and gives how much now remains.
func ExtendDeadline(by time.Duration) (time.Duration, error) {
	granted, err := fromResult(context.ExtendDeadline(toMillis(by)))
	return fromMillis(granted), err
}

// MarkSoft makes a failure of the attempt one that does not fail the run.
func MarkSoft() {
	context.MarkSoft()
}

// ReportFailure tells of a failure at once.
func ReportFailure(failure Failure) {
	context.ReportFailure(toFailure(failure))
}

// ReportPart tells how a part of the test ended.
func ReportPart(name string, outcome Outcome, took time.Duration) error {
	_, err := fromResult(context.ReportSubResult(text(name), toOutcome(outcome), toMillis(took)))
	return err
}

// SetValue keeps a value for the run.
func SetValue(name, value string, secret bool) error {
	_, err := fromResult(context.SetValue(text(name), text(value), secret))
	return err
}

// Value gives a value of the run.
func Value(name string) (string, bool) {
	var result abi.Option[string]
	abi.Unbounded(func() { result = context.GetValue(text(name)) })
	value, ok := result.Get()
	return strings.Clone(value), ok
}

// Attach keeps a file with the attempt.
func Attach(name, mediaType string, content []byte) error {
	_, err := fromResult(context.Attach(text(name), text(mediaType), content))
	return err
}

// Param gives a parameter of the run, or else a value of the configuration.
func Param(name string) (string, bool, error) {
	var result abi.Result[abi.Option[string], store.Error]
	abi.Unbounded(func() { result = store.Get(text(name)) })
	if result.IsErr() {
		return "", false, fromStore(result.Err())
	}
	value, ok := result.Ok().Get()
	return strings.Clone(value), ok, nil
}

// Params gives all of them.
func Params() (map[string]string, error) {
	var result abi.Result[[]abi.Tuple2[string, string], store.Error]
	abi.Unbounded(func() { result = store.GetAll() })
	if result.IsErr() {
		return nil, fromStore(result.Err())
	}
	params := make(map[string]string)
	for _, pair := range result.Ok() {
		params[strings.Clone(pair.F0)] = strings.Clone(pair.F1)
	}
	return params, nil
}

// Span is a timed part of the attempt.
type Span struct {
	inner *context.Span
}

// StartSpan starts one.
func StartSpan(name string, attributes []Attribute) *Span {
	return &Span{context.MakeSpan(text(name), toAttributes(attributes))}
}

// Set adds an attribute to the span.
func (s *Span) Set(attribute Attribute) {
	s.inner.SetAttribute(toAttribute(attribute))
}

// End ends it.
func (s *Span) End() {
	s.inner.End()
}

func fromStore(err store.Error) error {
	if err.Tag() == store.Error_Io {
		return errors.New(strings.Clone(err.Io()))
	}
	return errors.New(strings.Clone(err.Upstream()))
}

func fromResult[T any](result abi.Result[T, vocabulary.Refusal]) (value T, err error) {
	if result.IsErr() {
		refusal := result.Err()
		return value, &Refusal{strings.Clone(refusal.Rule), strings.Clone(refusal.Message)}
	}
	return result.Ok(), nil
}

func toOutcome(outcome Outcome) vocabulary.Outcome {
	switch outcome.Ending {
	case Failed:
		return vocabulary.MakeOutcomeFailed(toFailure(outcome.Failure))
	case Skipped:
		return vocabulary.MakeOutcomeSkipped(text(outcome.Failure.Message))
	default:
		return vocabulary.MakeOutcomePassed()
	}
}

func toFailure(failure Failure) vocabulary.Failure {
	location := abi.None[vocabulary.Location]()
	if failure.Location.File != "" {
		location = abi.Some(vocabulary.Location{
			File: text(failure.Location.File),
			Line: uint32(failure.Location.Line),
		})
	}
	return vocabulary.Failure{Message: text(failure.Message), Location: location}
}

func toDescription(suite Suite) tests.SuiteDescription {
	links := make([]vocabulary.Link, len(suite.Links))
	for i, link := range suite.Links {
		links[i] = vocabulary.Link{Title: text(link.Title), Url: text(link.URL)}
	}
	cases := make([]tests.TestCase, len(suite.Tests))
	for i, test := range suite.Tests {
		tags := make([]string, len(test.Tags))
		for i, tag := range test.Tags {
			tags[i] = text(tag)
		}
		cases[i] = tests.TestCase{
			Name:        text(test.Name),
			Description: toOption(text(test.Description)),
			Tags:        tags,
			TimeoutMs:   toOption(toMillis(test.Timeout)),
			Attempts:    toOption(uint32(test.Attempts)),
			Soft:        test.Soft,
			Disabled:    toOption(text(test.Disabled)),
		}
	}
	return tests.SuiteDescription{
		Name:        text(suite.Name),
		Namespace:   toOption(text(suite.Namespace)),
		Description: toOption(text(suite.Description)),
		Links:       links,
		Labels:      toAttributes(suite.Labels),
		Owner:       toOption(text(suite.Owner)),
		TimeoutMs:   toOption(toMillis(suite.Timeout)),
		Attempts:    toOption(uint32(suite.Attempts)),
		Parallelism: toOption(uint32(suite.Parallelism)),
		WantsHttp:   suite.WantsHTTP,
		Tests:       cases,
	}
}

func toAttributes(attributes []Attribute) []vocabulary.Attribute {
	to := make([]vocabulary.Attribute, len(attributes))
	for i, attribute := range attributes {
		to[i] = toAttribute(attribute)
	}
	return to
}

func toAttribute(attribute Attribute) vocabulary.Attribute {
	return vocabulary.Attribute{Key: text(attribute.Key), Value: text(attribute.Value)}
}

// text is what the server takes as a text: it ends a guest that passes anything but UTF-8.
func text(s string) string {
	return strings.ToValidUTF8(s, "\uFFFD")
}

// toOption gives none for what is zero.
func toOption[T comparable](value T) abi.Option[T] {
	var zero T
	if value == zero {
		return abi.None[T]()
	}
	return abi.Some(value)
}

// toMillis rounds up, so that no short time becomes none.
func toMillis(duration time.Duration) uint64 {
	return uint64(max(0, duration+time.Millisecond-1) / time.Millisecond)
}

func fromMillis(millis uint64) time.Duration {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(millis, longest)) * time.Millisecond
}
