// float32 to E4M3 (float8_e4m3fn): to nearest, ties to even, saturating; infinities saturate, too.
// Combinational.  Test vectors: fmtlib vectors e4m3 --op encode --rounding nearest_even --overflow saturate
`timescale 1ns / 1ns
module e4m3_encoder (
    input  wire [31:0] x,
    output wire [7:0]  code
);
    wire        sign     = x[31];
    wire [7:0]  exponent = x[30:23];
    wire [22:0] mantissa = x[22:0];
    wire        nan      = exponent == 8'hff && mantissa != 0;

    // Subnormal float32 numbers are far below half of E4M3's least: their missing leading bit
    // cannot matter, and neither can any number below 2**-11, whose exponent field is 116.
    wire [23:0] significand = {1'b1, mantissa};
    wire        tiny        = exponent < 8'd116;

    // Normal codes keep 3 bits behind the leading one and lose 20.  Below 2**-6, exponent field
    // 121, the quantum stays, so that more is lost: 25 bits at most.
    wire        subnormal = exponent < 8'd121;
    wire [4:0]  lost      = subnormal ? 5'd20 + (8'd121 - exponent) : 5'd20;
    wire [7:0]  binade    = subnormal ? 8'd0 : exponent - 8'd121;

    // One addition rounds: a half less one, plus one if the last bit that is kept is odd.
    wire [24:0] half  = 25'd1 << (lost - 5'd1);
    wire        odd   = significand >> lost;
    wire [25:0] sum   = significand + half - 25'd1 + odd;
    wire [4:0]  kept  = sum >> lost;

    // The leading one of a normal number, and a carry out of the mantissa, add to the exponent.
    wire [10:0] magnitude = {binade, 3'b000} + kept;

    assign code = {sign, nan ? 7'h7f : tiny ? 7'h00 : magnitude > 11'h7e ? 7'h7e : magnitude[6:0]};
endmodule
