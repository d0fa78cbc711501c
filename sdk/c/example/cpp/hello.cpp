// The C header from C++: operands of more types, and a table in a vector.
#include <handoff.h>

#include <iostream>
#include <string>
#include <vector>

HANDOFF_SUITE(.name = "hello-cpp", .description = "A suite in C++. **One test fails, and should.**",
              .owner = "handoff", .timeout_ms = 5000, .labels = {{"kind", "example"}});

enum class Size { small = 1, large = 2 };

HANDOFF_TEST(passes, .tags = {"smoke"}) {
    std::cout << "greetings from C++" << std::endl;
    const std::string greeting = std::string("hello") + " world";
    ASSERT_EQ(greeting, "hello world");
    ASSERT_STR_CONTAINS(greeting, "world");
    ASSERT_EQ(greeting.size(), 11);
    ASSERT_EQ(Size::large, Size::large);
    ASSERT_NE(greeting.data(), nullptr);
}

HANDOFF_TEST(fails) { ASSERT_EQ(std::string("one"), std::string("two"), "of %d", 2); }

HANDOFF_TEST(skips) { SKIP("C++ is not needed today"); }

// A clean-up without captures: what it needs comes as its argument.
HANDOFF_TEST(cleans_up) {
    static std::string name = "cleaned up";
    handoff_cleanup([](void *text) { std::cout << *static_cast<std::string *>(text) << "\n"; },
                    &name);
}

// The options are members of a struct, in the order in which the header lists them.
static const std::vector<std::string> fruits = {"apple", "pear", "plum"};

HANDOFF_TESTS(fruits) {
    for (const auto &fruit : fruits) {
        handoff_add_test(
            [](const void *row) { EXPECT_GT(static_cast<const std::string *>(row)->size(), 3); },
            &fruit, .name = fruit.c_str(), .description = "Is long enough to be a fruit.");
    }
}

HANDOFF_TEST(asks_a_server, .tags = {"http"}) {
    char *server = handoff_param("server");
    if (!server)
        SKIP("give the parameter `server`, a base URL");
    const std::string url = std::string(server) + "/echo";
    auto *answer = handoff_http_get(url.c_str(), .query = {{"fruit", "plum"}}, .timeout_ms = 2000);
    ASSERT_STATUS(answer, 200);
    ASSERT_STR_CONTAINS(answer->body, "fruit=plum");
}
