;; What every guest of the sandbox's tests has: imports, memory, an allocator, outcomes. The parts in
;; capital letters are replaced.
(module
  (import "handoff:suite/context@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "handoff:suite/context@0.1.0" "attempt-number" (func $number (result i32)))
  (import "handoff:suite/context@0.1.0" "remaining-ms" (func $remaining (result i64)))
  (import "handoff:suite/context@0.1.0" "extend-deadline" (func $extend (param i64 i32)))
  (import "handoff:suite/context@0.1.0" "mark-soft" (func $soft))
  ;; message, has location, file, line, has column, column
  (import "handoff:suite/context@0.1.0" "report-failure"
    (func $report (param i32 i32 i32 i32 i32 i32 i32 i32)))
  ;; name, outcome (as above after its discriminant), duration, result
  (import "handoff:suite/context@0.1.0" "report-sub-result"
    (func $part (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "handoff:suite/context@0.1.0" "set-value" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "handoff:suite/context@0.1.0" "get-value" (func $get (param i32 i32 i32)))
  (import "handoff:suite/context@0.1.0" "attach" (func $attach (param i32 i32 i32 i32 i32 i32 i32)))
  (import "handoff:suite/context@0.1.0" "[constructor]span"
    (func $span (param i32 i32 i32 i32) (result i32)))
  (import "handoff:suite/context@0.1.0" "[method]span.end" (func $end (param i32)))
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
  (import "wasi:cli/stderr@0.2.12" "get-stderr" (func $stderr (result i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:cli/exit@0.2.12" "exit" (func $exit (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration"
    (func $after (param i64) (result i32)))
  (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:random/random@0.2.12" "get-random-bytes" (func $random (param i64 i32)))
  (import "wasi:config/store@0.2.0-rc.1" "get" (func $config (param i32 i32 i32)))

  (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
  (import "wasi:sockets/instance-network@0.2.12" "instance-network" (func $network (result i32)))
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))

  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (func $realloc (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $enough
      (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.div_u (i32.add (local.get $size) (i32.const 131072))
        (i32.const 65536)))))
    (local.get $at))

  ;; Outcomes: passed, failed("it did not"), skipped("not here").
  (data (i32.const 64) "\01\00\00\00\00\02\00\00\0a\00\00\00")
  (data (i32.const 128) "\02\00\00\00\10\02\00\00\08\00\00\00")
  (data (i32.const 512) "it did not")
  (data (i32.const 528) "not here")
  (global $passed i32 (i32.const 16))
  (global $failed i32 (i32.const 64))
  (global $skipped i32 (i32.const 128))
  ;; Where results of host calls go.
  (global $result i32 (i32.const 192))

  ;; A description with one test: the record, the test, and their names.
  (data (i32.const 256) "\40\02\00\00\05\00\00\00")
  (data (i32.const 360) "\80\01\00\00\01\00\00\00")
  (data (i32.const 384) "\50\02\00\00\03\00\00\00")
  (data (i32.const 576) "suite")
  (data (i32.const 592) "one")
  (global $description i32 (i32.const 256))

  ;; The log call with a text of the memory.
  (func $say (param $at i32) (param $len i32)
    (call $log (i32.const 2) (local.get $at) (local.get $len)))
  (func $out (param $at i32) (param $len i32)
    (call $write (call $stdout) (local.get $at) (local.get $len) (global.get $result)))
  (func $err (param $at i32) (param $len i32)
    (call $write (call $stderr) (local.get $at) (local.get $len) (global.get $result)))
  ;; Says what is in the result of a call that was refused: the rule's name.
  (func $say-rule (param $at i32)
    (call $say (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4)))))
  (func $loop (loop $again (br $again)))

  FIELDS

  (func (export "handoff:suite/tests@0.1.0#describe") (result i32) DESCRIBE)
  (func (export "handoff:suite/tests@0.1.0#setup") (result i32) SETUP)
  (func $run (export "handoff:suite/tests@0.1.0#run") (param $name i32) (param $len i32) (result i32) RUN)
  (func (export "handoff:suite/tests@0.1.0#teardown") (result i32) TEARDOWN)
)
