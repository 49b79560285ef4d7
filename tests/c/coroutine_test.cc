// Coroutines of C++20 on the completion queue: `co_await loop.start_flow(...)` suspends until the agent has decided,
// and goes on in whichever thread took the completion.
//
//     coroutine_test AGENT DOWN
//
// AGENT is a program of tests/fakeagent; DOWN is the address of an agent that is down.
#include <atomic>
#include <coroutine>
#include <exception>
#include <thread>
#include <vector>

#include <poll.h>
#include <unistd.h>

extern "C" {
#include "host.h"
#include "process.h"
}

namespace {

constexpr int kCoroutines = 200;
constexpr int kFlows = 5; // of each
constexpr int kThreads = 3;

// A coroutine that nobody waits for.
struct Task {
    struct promise_type {
        Task get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() { std::terminate(); }
    };
};

// What it is to wait for a flow. The tag of the call is its address.
class Start {
public:
    Start(aperture_client client, aperture_flow_params params) : client_(client), params_(params) {}

    bool await_ready() { return false; }

    // Once the call is made another thread may resume the coroutine, and this object be gone: nothing is touched after.
    bool await_suspend(std::coroutine_handle<> waiting) {
        aperture_error error = APERTURE_ERROR_INIT;
        aperture_decision decision = APERTURE_DECISION_INIT;
        aperture_flow flow = nullptr;
        aperture_call call = nullptr;
        aperture_client client = client_;
        waiting_ = waiting;
        hand_over(this);
        aperture_code code = aperture_start_flow_async(client, &params_, reinterpret_cast<uint64_t>(this), &flow,
                                                       &decision, &call, &error);
        if (code == APERTURE_PENDING) {
            return true;
        }
        CHECK_OK(code, error);
        flow_ = flow;
        return false;
    }

    aperture_flow await_resume() { return flow_; }

    void complete(const aperture_completion &completion) {
        CHECK(completion.kind == APERTURE_COMPLETION_START_FLOW && completion.code == APERTURE_OK);
        flow_ = completion.flow;
        waiting_.resume();
    }

private:
    aperture_client client_;
    aperture_flow_params params_;
    std::coroutine_handle<> waiting_;
    aperture_flow flow_ = nullptr;
};

struct Count {
    std::atomic<int> flows{0};
    std::atomic<int> finished{0};
    std::atomic<int> suspended{0}; // flows that went on in another call than they started in
};

Task run_flows(aperture_client client, aperture_decision_type expected, Count &count) {
    for (int i = 0; i < kFlows; i++) {
        aperture_decision decision = APERTURE_DECISION_INIT;
        aperture_error error = APERTURE_ERROR_INIT;
        aperture_flow flow = co_await Start(client, checkout());
        CHECK_OK(aperture_flow_decision(flow, &decision, &error), error);
        CHECK(decision.decision == expected);
        finish_flow(flow);
        count.flows++;
    }
    count.finished++;
}

// Waits for completions and resumes what waited for them, until every coroutine has finished.
void run_loop(aperture_client client, int coroutines, Count &count) {
    aperture_error error = APERTURE_ERROR_INIT;
    int32_t fd = -1;
    CHECK_OK(aperture_client_completion_fd(client, &fd, &error), error);
    const int64_t deadline = now_ns() + PATIENCE;
    while (count.finished < coroutines) {
        CHECK(now_ns() < deadline);
        struct pollfd watched = {fd, POLLIN, 0};
        CHECK(poll(&watched, 1, 100) >= 0); // another thread may take the last one
        aperture_completion completions[7];
        size_t taken = 0;
        completions[0].struct_size = sizeof completions[0];
        CHECK_OK(aperture_client_poll(client, completions, 7, &taken, &error), error);
        for (size_t i = 0; i < taken; i++) {
            count.suspended++;
            Start *start = reinterpret_cast<Start *>(completions[i].tag);
            take_over(start);
            start->complete(completions[i]);
        }
    }
    CHECK(close(fd) == 0);
}

// Runs many coroutines at once. Returns how many of their flows were waited for.
int run_coroutines(const char *address, aperture_decision_type expected, int threads) {
    const int coroutines = scaled(kCoroutines);
    aperture_client client = client_for(address);
    Count count;
    for (int i = 0; i < coroutines; i++) {
        run_flows(client, expected, count);
    }
    std::vector<std::thread> loops;
    for (int i = 0; i < threads; i++) {
        loops.emplace_back([&] { run_loop(client, coroutines, count); });
    }
    for (std::thread &loop : loops) {
        loop.join();
    }
    CHECK(count.finished == coroutines && count.flows == coroutines * kFlows);
    close_client(client);
    return count.suspended;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s AGENT DOWN\n", argv[0]);
        return 2;
    }
    const int flows = scaled(kCoroutines) * kFlows;
    const char *const reject[] = {"-decision=reject", nullptr};
    char report[4096];
    agent agent;
    start_agent(&agent, argv[1], reject);

    CHECK(run_coroutines("local:", APERTURE_ACCEPTED, 1) == 0); // decided at once: nobody is suspended
    CHECK(run_coroutines(agent.address, APERTURE_REJECTED, 1) == flows);
    CHECK(run_coroutines(agent.address, APERTURE_REJECTED, kThreads) == flows);
    CHECK(run_coroutines(argv[2], APERTURE_UNREACHABLE, kThreads) == flows);

    stop_agent(&agent, report, sizeof report);
    CHECK(reported(report, "check_count") == 2 * flows);
    CHECK(aperture_live_handles() == 0);
    std::puts("coroutine: done");
    return 0;
}
