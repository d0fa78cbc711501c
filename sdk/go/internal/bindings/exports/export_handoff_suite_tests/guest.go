// Package export_handoff_suite_tests is where the generated exports find what they export. The name is
// the generator's.
package export_handoff_suite_tests

import (
	"github.com/handoff-tests/handoff/sdk/go/internal/abi"
	"github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/handoff_suite_tests"
	"github.com/handoff-tests/handoff/sdk/go/internal/bindings/imports/handoff_suite_vocabulary"
)

// The functions of the suite. Package host sets them before the server can call one.
var (
	Describe func() handoff_suite_tests.SuiteDescription
	Setup    func() handoff_suite_vocabulary.Outcome
	Run      func(test string) handoff_suite_vocabulary.Outcome
	Teardown func() abi.Result[abi.Unit, handoff_suite_vocabulary.Failure]
)
