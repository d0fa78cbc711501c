//! The C header from Zig: its functions are called as they are, and tests are registered by a call.
const std = @import("std");
const handoff = @import("handoff");

const Place = std.builtin.SourceLocation;

/// A test of this file.
fn add(comptime function: fn () void, options: *const handoff.handoff_test_options, at: Place) void {
    const exported = struct {
        fn call() callconv(.c) void {
            function();
        }
    };
    handoff.handoff_add_function(exported.call, options.name, options, at.file, at.line);
}

/// Compares what `ASSERT_EQ` does in C.
fn expectEqual(expected: i64, actual: i64, at: Place) void {
    if (expected != actual)
        handoff.handoff_fail(at.file, at.line, "expected %lld, got %lld", expected, actual);
}

/// The library calls this before anything else.
export fn handoff_register() void {
    handoff.handoff_add_suite(&.{
        .name = "hello-zig",
        .description = "A suite in Zig. **One test fails, and should.**",
        .owner = "handoff",
        .timeout_ms = 5000,
    }, @src().file, @src().line);
    add(passes, &.{ .name = "passes" }, @src());
    add(fails, &.{ .name = "fails" }, @src());
    add(skips, &.{ .name = "skips", .description = "A skip is recorded, then returned from." }, @src());
    add(asksAServer, &.{ .name = "asks_a_server" }, @src());
}

fn passes() void {
    handoff.handoff_log(handoff.HANDOFF_INFO, "greetings from Zig, attempt %u", handoff.handoff_attempt());
    expectEqual(2, 1 + 1, @src());
}

fn fails() void {
    expectEqual(3, 1 + 1, @src());
}

fn skips() void {
    handoff.handoff_skip("Zig is not needed today");
}

fn asksAServer() void {
    const server = handoff.handoff_param("server") orelse
        return handoff.handoff_skip("give the parameter `server`, a base URL");
    const request: handoff.handoff_http_request = .{
        .url = handoff.handoff_format("%s/echo", server),
        .timeout_ms = 2000,
    };
    const answer = handoff.handoff_http_send(request);
    handoff.handoff_http_expect(answer, 200, @src().file, @src().line);
}
