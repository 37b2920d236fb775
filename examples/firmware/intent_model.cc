// Written by `thimble plan MODEL --source`: what is in MODEL's file, for a firmware that has it at board_model.
// clang-format off
#include "io/linked_model.h"
#include "quant/f32.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

extern "C" const unsigned char board_model[];

#define BYTES(offset) reinterpret_cast<const std::byte*>(board_model + offset)
#define FLOATS(offset) reinterpret_cast<const float*>(board_model + offset)
#define WORDS(offset) reinterpret_cast<const uint32_t*>(board_model + offset)

namespace thimble {
namespace {

const LayerWeights kLayers[] = {
  {
    .attn_norm = FLOATS(94208),
    .post_attention_norm = FLOATS(141248),
    .attention = {},
    .deltanet = {
      .attn_qkv = {&kFormatQ4_0, BYTES(94592), 288, 96},
      .attn_gate = {&kFormatQ4_0, BYTES(89024), 96, 96},
      .ssm_beta = {&kFormatQ4_0, BYTES(141888), 3, 96},
      .ssm_alpha = {&kFormatQ4_0, BYTES(141696), 3, 96},
      .ssm_out = {&kFormatQ4_0, BYTES(146880), 96, 96},
      .ssm_conv1d = FLOATS(142080),
      .ssm_dt = FLOATS(146688),
      .ssm_a = FLOATS(141632),
      .ssm_norm = FLOATS(146752),
    },
    .ffn_gate = {&kFormatQ4_0, BYTES(120512), 192, 96},
    .ffn_up = {&kFormatQ4_0, BYTES(130880), 192, 96},
    .ffn_down = {&kFormatQ4_0, BYTES(110144), 96, 192},
  },
  {
    .attn_norm = FLOATS(157248),
    .post_attention_norm = FLOATS(204288),
    .attention = {},
    .deltanet = {
      .attn_qkv = {&kFormatQ4_0, BYTES(157632), 288, 96},
      .attn_gate = {&kFormatQ4_0, BYTES(152064), 96, 96},
      .ssm_beta = {&kFormatQ4_0, BYTES(204928), 3, 96},
      .ssm_alpha = {&kFormatQ4_0, BYTES(204736), 3, 96},
      .ssm_out = {&kFormatQ4_0, BYTES(209920), 96, 96},
      .ssm_conv1d = FLOATS(205120),
      .ssm_dt = FLOATS(209728),
      .ssm_a = FLOATS(204672),
      .ssm_norm = FLOATS(209792),
    },
    .ffn_gate = {&kFormatQ4_0, BYTES(183552), 192, 96},
    .ffn_up = {&kFormatQ4_0, BYTES(193920), 192, 96},
    .ffn_down = {&kFormatQ4_0, BYTES(173184), 96, 192},
  },
  {
    .attn_norm = FLOATS(220288),
    .post_attention_norm = FLOATS(267328),
    .attention = {},
    .deltanet = {
      .attn_qkv = {&kFormatQ4_0, BYTES(220672), 288, 96},
      .attn_gate = {&kFormatQ4_0, BYTES(215104), 96, 96},
      .ssm_beta = {&kFormatQ4_0, BYTES(267968), 3, 96},
      .ssm_alpha = {&kFormatQ4_0, BYTES(267776), 3, 96},
      .ssm_out = {&kFormatQ4_0, BYTES(272960), 96, 96},
      .ssm_conv1d = FLOATS(268160),
      .ssm_dt = FLOATS(272768),
      .ssm_a = FLOATS(267712),
      .ssm_norm = FLOATS(272832),
    },
    .ffn_gate = {&kFormatQ4_0, BYTES(246592), 192, 96},
    .ffn_up = {&kFormatQ4_0, BYTES(256960), 192, 96},
    .ffn_down = {&kFormatQ4_0, BYTES(236224), 96, 192},
  },
  {
    .attn_norm = FLOATS(280000),
    .post_attention_norm = FLOATS(328896),
    .attention = {
      .attn_q = {&kFormatQ4_0, BYTES(285568), 192, 96},
      .attn_k = {&kFormatQ4_0, BYTES(278144), 32, 96},
      .attn_v = {&kFormatQ4_0, BYTES(296064), 32, 96},
      .attn_output = {&kFormatQ4_0, BYTES(280384), 96, 96},
      .attn_q_norm = FLOATS(295936),
      .attn_k_norm = FLOATS(279872),
    },
    .deltanet = {},
    .ffn_gate = {&kFormatQ4_0, BYTES(308160), 192, 96},
    .ffn_up = {&kFormatQ4_0, BYTES(318528), 192, 96},
    .ffn_down = {&kFormatQ4_0, BYTES(297792), 96, 192},
  },
};

const uint64_t kRopeFrequencies[] = {
  0x28be60db93910600,
  0xb97b34b1b44608,
  0x34c62505f457f,
  0xf03f85daf2c,
};

const Token kAnswers[] = {
  1385, 1386, 1387, 1388, 1389, 1390, 1391, 1392, 1393, 1394, 1395, 1396, 1397, 1398, 1399, 1400,
  1401, 1402, 1403, 1404, 1405, 1406, 1407, 1408, 1409, 1410, 1411, 1412, 1413, 1414, 1415, 1416,
  1417, 1418, 1419, 1420, 1421, 1422, 1423, 1424, 1425, 1426, 1427, 1428, 1429, 1430, 1431, 1432,
  1433, 1434, 1435, 1436, 1437, 1438, 1439, 1440, 1441, 1442, 1443, 1444, 1445, 1446, 1447, 1448,
  1449, 1450, 1451, 1452, 1453, 1454, 1455, 1456, 1457, 1458, 1459, 1460, 1461, 1462, 1463, 1464,
  1465, 1466, 1467, 1468, 1469, 1470, 1471, 1472, 1473, 1474, 1475, 1476, 1477, 1478, 1479, 1480,
  1481, 1482, 1483, 1484, 1485, 1486, 1487, 1488, 1489, 1490, 1491, 1492, 1493, 1494, 1495, 1496,
  1497, 1498, 1499, 1500, 1501, 1502, 1503, 1504, 1505, 1506, 1507, 1508, 1509, 1510, 1511, 1512,
  1513, 1514, 1515, 1516, 1517, 1518, 1519, 1520, 1521, 1522, 1523, 1524, 1525, 1526, 1527, 1528,
  1529, 1530, 1531, 1532, 1533, 1534, 1535,
};

}  // namespace

const LinkedModel kLinkedModel = {
  .bytes = 412608,
  .crc32 = 0x19beae6d,
  .model = {
    .config = {
      .block_count = 4,
      .nextn_predict_layers = 0,
      .vocab_size = 1536,
      .context_length = 512,
      .embedding_length = 96,
      .feed_forward_length = 192,
      .layer_norm_rms_epsilon = 0x1.0c6f7ap-20f,
      .head_count = 3,
      .head_count_kv = 1,
      .key_length = 32,
      .rope = {
        .freq_base = 0x1.312dp+23f,
        .dimension_count = 8,
        .dimension_sections = {2, 1, 1},
        .scaling_factor = 0x1p+0f,
        .original_context_length = 512,
        .yarn_beta_fast = 0x1p+5f,
        .yarn_beta_slow = 0x1p+0f,
      },
      .conv_kernel = 4,
      .group_count = 3,
      .time_step_rank = 3,
      .state_size = 32,
      .inner_size = 96,
      .recurrent = {0x7, 0x0, 0x0, 0x0},
    },
    .weights = {
      .token_embd = {&kFormatQ4_0, BYTES(329664), 1536, 96},
      .output = {&kFormatQ4_0, BYTES(329664), 1536, 96},
      .output_norm = FLOATS(329280),
      .layers = kLayers,
      .mtp = nullptr,
      .rope_frequencies = kRopeFrequencies,
      .rope_scale = 0x1p+0f,
    },
  },
  .tokenizer = {
    .vocabulary = {
      .texts = {BYTES(1934), 1536},
      .types = BYTES(24039),
      .size = 1536,
      .specials = 154,
      .max_bytes = 36,
    },
    .index = WORDS(54644),
    .pre = PreTokenizer::kQwen35,
    .nfc = true,
    .special_begins = {0x1000000000000000, 0x0, 0x0, 0x0},
    .end_tokens = {1384, 1382, 0, 0},
    .end_count = 2,
  },
  .task = {
    .prompt = {" {text}<|im_end|>", 17},
    .choices = {BYTES(46617), 151},
    .labels = {BYTES(51295), 151},
    .out_of_scope = {"oos", 3},
    .threshold = 0x1.666666p-2f,
    .lowercase_ascii = true,
    .strip_closing_marks = true,
  },
  .answers = kAnswers,
};

std::span<const Format* const> Formats() {
  static constexpr const Format* kFormats[] = {&kFormatF32, &kFormatQ4_0, &kFormatQ8_0};
  return kFormats;
}

}  // namespace thimble
