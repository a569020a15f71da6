// Device, buffers, submits and pictures on whatever device comes first.
#include <doctest/doctest.h>

#include <cstring>
#include <numeric>

#include "harness/temporary_folder.h"
#include "support/buffer.h"
#include "support/device.h"
#include "support/file.h"
#include "support/png.h"
#include "support/submit.h"

using namespace vkattn;
using namespace vkattn::support;

TEST_SUITE("support") {

    TEST_CASE("a device that is not there is told with those that are") {
        auto device = Device::create("no such device");
        REQUIRE_FALSE(device.ok());
        CHECK(device.status().message.find("no device matches 'no such device'") != std::string::npos);
        CHECK(device.status().message.find("\n  0: ") != std::string::npos);
        auto instance = Instance::create();
        REQUIRE(instance.ok());
        CHECK_FALSE(Device::create(*instance, 1000).ok());
    }

    TEST_CASE("buffers, directly and staged, under the validation layer") {
        auto device = Device::create("", {.validation = Validation::synchronization});
        REQUIRE_MESSAGE(device.ok(), device.status().message);
        for (const Transfer transfer : {Transfer::direct, Transfer::staged}) {
            std::vector<uint32_t> numbers(10007);
            std::iota(numbers.begin(), numbers.end(), 5u);
            auto buffer = Buffer::create(**device, numbers.size() * 4, transfer);
            REQUIRE_MESSAGE(buffer.ok(), buffer.status().message);
            CHECK(buffer->size_bytes() == numbers.size() * 4);
            REQUIRE(buffer->upload<uint32_t>(numbers).ok());
            std::vector<uint32_t> back(numbers.size());
            REQUIRE(buffer->download<uint32_t>(back).ok());
            CHECK(back == numbers);

            const uint8_t bytes[3] = {1, 2, 3};
            REQUIRE(buffer->upload_bytes(bytes, 6).ok());
            std::vector<uint8_t> part(5);
            REQUIRE(buffer->download_bytes(part, 5).ok());
            CHECK(part == std::vector<uint8_t>{0, 1, 2, 3, 0});
            CHECK_FALSE(buffer->upload_bytes(bytes, numbers.size() * 4 - 2).ok());
            CHECK_FALSE(buffer->download_bytes(part, UINT64_MAX).ok());

            REQUIRE(buffer->fill(0x7fc00000u).ok());
            REQUIRE(buffer->download<uint32_t>(back).ok());
            CHECK(back == std::vector<uint32_t>(numbers.size(), 0x7fc00000u));
            Buffer moved = std::move(*buffer);
            CHECK(moved.handle() != VK_NULL_HANDLE);
            CHECK(buffer->handle() == VK_NULL_HANDLE);
        }
        auto empty = Buffer::create(**device, 0);
        REQUIRE(empty.ok());
        CHECK(empty->handle() != VK_NULL_HANDLE);
        CHECK(empty->upload_bytes({}).ok());

        auto timing = submit_timed(**device, [&](VkCommandBuffer commands) {
            (*device)->vk().vkCmdFillBuffer(commands, empty->handle(), 0, 16, 1);
        });
        REQUIRE_MESSAGE(timing.ok(), timing.status().message);
        CHECK(timing->ms >= 0.0);
        CHECK(timing->ms < 10000.0);
        for (const std::string& message : (*device)->log().messages()) FAIL_CHECK(message);
    }

    TEST_CASE("the log hears the validation layer") {
        auto device = Device::create("", {.validation = Validation::core});
        REQUIRE_MESSAGE(device.ok(), device.status().message);
        auto buffer = Buffer::create(**device, 64);
        REQUIRE(buffer.ok());
        // A fill that does not end inside the buffer: wrong, and harmless because it is never submitted.
        const VolkDeviceTable& vk = (*device)->vk();
        VkCommandBufferAllocateInfo allocate{};
        allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
        allocate.commandPool = (*device)->command_pool();
        allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
        allocate.commandBufferCount = 1;
        VkCommandBuffer commands = VK_NULL_HANDLE;
        REQUIRE(vk.vkAllocateCommandBuffers((*device)->handle(), &allocate, &commands) == VK_SUCCESS);
        VkCommandBufferBeginInfo begin{};
        begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
        REQUIRE(vk.vkBeginCommandBuffer(commands, &begin) == VK_SUCCESS);
        vk.vkCmdFillBuffer(commands, buffer->handle(), 32, 64, 0);
        vk.vkEndCommandBuffer(commands);
        vk.vkFreeCommandBuffers((*device)->handle(), (*device)->command_pool(), 1, &commands);
        const auto messages = (*device)->log().messages();
        REQUIRE(messages.size() >= 1);
        CHECK(messages[0].find("vkCmdFillBuffer") != std::string::npos);
        (*device)->log().clear();
        CHECK((*device)->log().messages().empty());
    }

    TEST_CASE("features can be left out") {
        DeviceOptions options;
        options.features = Features{};
        auto device = Device::create("", options);
        REQUIRE_MESSAGE(device.ok(), device.status().message);
        CHECK_FALSE((*device)->enabled().buffer_device_address);
        CHECK(Buffer::create(**device, 100).ok());
    }

    TEST_CASE("PNG") {
        const test::TemporaryFolder folder;
        const std::vector<uint8_t> rgb(5 * 3 * 3, 200);
        REQUIRE(write_png(folder / "picture.png", 5, 3, rgb).ok());
        auto bytes = read_file(folder / "picture.png");
        REQUIRE(bytes.ok());
        REQUIRE(bytes->size() > 33);
        const uint8_t head[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I',
                                'H',  'D', 'R', 0,   0,    0,    5,    0,    0, 0, 3, 8,  2};
        CHECK(std::memcmp(bytes->data(), head, sizeof head) == 0);
        CHECK_FALSE(write_png(folder / "picture.png", 5, 4, rgb).ok());
        CHECK_FALSE(write_png(folder / "picture.png", 0, 0, {}).ok());
    }
}
